// Draws data = {library, spec, alt} and draws it again in place: Plotly.react keeps zoom and hidden traces.
const load = (address) => {
  window.maclPlotly ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: new URL(address, document.baseURI).href, onload: () => done(window.Plotly), onerror: failed });
    document.head.append(script);
  });
  return window.maclPlotly;
};

const themed = (layout, node) => {
  const style = getComputedStyle(node);
  const color = style.color; // rgb(…): Plotly knows no newer notation
  const faint = (share) => color.replace("rgb(", "rgba(").replace(")", `, ${share})`);
  const axis = { gridcolor: faint(0.14), zeroline: false, showline: false, automargin: true };
  return {
    ...layout,
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: style.fontFamily, size: 12, color },
    hoverlabel: { bgcolor: style.getPropertyValue("--st-secondary-background-color"), bordercolor: faint(0.3), font: { color } },
    modebar: { bgcolor: "transparent", color: faint(0.4), activecolor: color },
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
  };
};

export default function ({ data: [data], parentElement }) {
  const root = parentElement.querySelector(".steady");
  const { data: traces, layout } = JSON.parse(data.spec);
  root.setAttribute("aria-label", data.alt);
  root.style.minHeight = `${layout.height}px`;
  root.wanted = { traces, layout };
  load(data.library).then((Plotly) => {
    const { traces, layout } = root.wanted; // a newer one may have come while the library was loading
    Plotly.react(root, traces, themed(layout, root), { displaylogo: false, responsive: true });
  });
}
