// Draws data = {library, spec, alt, name} and draws it again in place: Plotly.react keeps zoom and hidden traces.
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
  const axis = { gridcolor: faint(0.14), zeroline: false, zerolinecolor: faint(0.5), showline: false, automargin: true };
  const axes = ["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d+$/.test(key))];
  return {
    ...layout,
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: style.fontFamily, size: 12, color },
    hoverlabel: { bgcolor: style.getPropertyValue("--st-secondary-background-color"), bordercolor: faint(0.3), font: { color } },
    modebar: { bgcolor: "transparent", color: faint(0.4), activecolor: color },
    ...Object.fromEntries(axes.map((key) => [key, { ...axis, showgrid: key[0] === "y", ...layout[key] }])),
  };
};

// Letters instead of one more camera.
const letters = (text) => ({
  svg: `<svg class="letters" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><text x="20" y="15" text-anchor="middle" ` +
    `font-size="15" font-weight="600" font-family="sans-serif" fill="currentColor">${text}</text></svg>`,
});
const CORNERS = { width: 512, height: 512, path: "M32 32h144v56H88v88H32zM336 32h144v144h-56V88h-88zM32 336h56v88h88v56H32zM424 336h56v144H336v-56h88z" };

const file = (Plotly, name, format) => ({
  name: format.toUpperCase(),
  title: `Save as ${format.toUpperCase()}`,
  icon: letters(format.toUpperCase()),
  click: (root) => {
    // as it is seen, on the colour of the page: the text of a dark one is lost on white paper
    const paper_bgcolor = getComputedStyle(root).getPropertyValue("--st-background-color");
    const { data, layout, offsetWidth: width, offsetHeight: height } = root;
    Plotly.downloadImage({ data, layout: { ...layout, paper_bgcolor } },
      { format, filename: name, width, height, scale: format === "png" ? 2 : 1 });
  },
});

// What a figure may do is said here, for all of them: nothing of it leaves the machine, unless as a file.
const config = (Plotly, name) => ({
  displaylogo: false,
  responsive: true,
  showSendToCloud: false,
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["toImage", "sendChartToCloud", "select2d", "lasso2d"],
  modeBarButtonsToAdd: [[file(Plotly, name, "png"), file(Plotly, name, "svg")], [{
    name: "Fullscreen",
    title: "Fullscreen",
    icon: CORNERS,
    click: (root) => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()),
  }]],
});

export default function ({ data: [data], parentElement }) {
  const root = parentElement.querySelector(".steady");
  const { data: traces, layout } = JSON.parse(data.spec);
  root.setAttribute("aria-label", data.alt);
  root.style.minHeight = `${layout.height}px`;
  root.wanted = { traces, layout };
  const draw = () => load(data.library).then((Plotly) => {
    const { traces, layout } = root.wanted; // a newer one may have come while the library was loading
    const height = document.fullscreenElement === root ? window.innerHeight : layout.height;
    root.config ??= config(Plotly, data.name); // another one, if but with new functions, is a new plot to Plotly
    Plotly.react(root, traces, themed({ ...layout, height }, root), root.config);
  });
  root.onfullscreenchange = draw;
  draw();
}
