// Draws data = {query, rows, images, columns, scale}; text only ever becomes text nodes, names come from files.
const make = (tag, className, ...children) => {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
};

const picture = (images, name, alt) => {
  if (!images[name]) return make("span", "empty", name);
  const img = make("img", "");
  Object.assign(img, { src: images[name], alt, decoding: "async", draggable: false });
  return img;
};

const labels = (tile) => {
  const line = make("span", "labels");
  for (const [kind, sign] of [["shared", ""], ["missing", "−"], ["extra", "+"]])
    for (const label of tile[kind]) line.append(line.childNodes.length ? ", " : "", make("span", kind, sign + label));
  return line;
};

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".gallery");
  const focused = parentElement.activeElement?.dataset?.at; // keep the place through a new query
  const { query, rows, images } = data;

  const button = (name, alt, at, className, ...children) => {
    const node = make("button", className, picture(images, name, alt), ...children);
    Object.assign(node, { type: "button", title: alt, tabIndex: -1 });
    node.dataset.at = at;
    node.dataset.name = name;
    node.setAttribute("aria-label", alt);
    node.onclick = () => {
      root.classList.add("busy");
      setTriggerValue("query", name);
    };
    return node;
  };

  const legend = make("div", "legend", "Jaccard 0", make("i", "scale"), "1",
    make("span", "shared", "shared"), make("span", "missing", "−missing"), make("span", "extra", "+extra"));
  legend.querySelector("i").style.background = `linear-gradient(90deg, ${data.scale.join(", ")})`;

  const asked = make("aside", "query", make("h3", "", "Query"), picture(images, query.name, query.alt),
    make("div", "name", query.name), make("div", "labels", query.labels.join(", ")));
  asked.dataset.name = query.name;
  if (query.earlier.length) {
    const strip = make("div", "earlier");
    query.earlier.forEach((name, i) =>
      strip.append(button(name, `Earlier query ${name}`, `earlier:${i}`, "small")));
    asked.append(make("h3", "", "Earlier queries"), strip);
  }

  const list = make("div", "rows", legend);
  rows.forEach((row, r) => {
    const title = make("h3", "", row.title);
    title.style.setProperty("--loss", row.color);
    const section = make("section", "row", make("header", "", title,
      ...row.facts.map((fact) => make("span", "fact", fact)), make("span", "about", row.about)));
    section.setAttribute("aria-label", row.title);
    if (row.note) section.append(make("p", "note", row.note));
    const tiles = make("div", "tiles");
    row.tiles.forEach((tile, i) => {
      const node = button(tile.name, tile.alt, `${r}:${i}`, "tile",
        make("span", "rank", make("b", "", String(tile.rank)), make("span", "", `J ${tile.jaccard}`)), labels(tile));
      node.style.setProperty("--jaccard", tile.color);
      tiles.append(node);
    });
    section.append(tiles);
    list.append(section);
  });
  root.style.setProperty("--columns", data.columns);
  root.classList.remove("busy");
  root.replaceChildren(asked, list);

  // One stop for the tab key; the arrows walk from tile to tile, by what is beside, above and below on the screen.
  const all = [...root.querySelectorAll("button")];
  const stop = all.find((node) => node.dataset.at === focused) ?? all.find((node) => node.className === "tile");
  if (stop) stop.tabIndex = 0;
  if (focused) stop?.focus({ preventScroll: true });
  root.onfocusin = (event) => all.forEach((node) => (node.tabIndex = node === event.target ? 0 : -1));
  root.onkeydown = (event) => {
    const here = all.indexOf(event.target);
    const turn = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (here < 0 || !turn) return;
    event.preventDefault();
    const from = all[here].getBoundingClientRect();
    const away = ({ left, top }) => turn[1] * (top - from.top);
    const line = all.map((node) => [node, node.getBoundingClientRect()])
      .filter(([, box]) => away(box) > 4 && Math.abs(box.left - from.left) < from.width)
      .sort(([, a], [, b]) => away(a) - away(b) || Math.abs(a.left - from.left) - Math.abs(b.left - from.left));
    (turn[0] ? all[here + turn[0]] : line[0]?.[0])?.focus();
  };
}
