// Draws data = {query, rows, images, columns, scale, actions, titles}; text only ever becomes text nodes, names come from files.
const SVG = "http://www.w3.org/2000/svg"; // a name, never an address
const make = (tag, className, ...children) => {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
};

const picture = (images, name, alt, shown = name) => {
  if (!images[name]) return make("span", "empty", shown);
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

// Precision and mean Jaccard by rank as two small lines; what they say stands in the title.
const byRank = (row) => {
  const { precision, jaccard } = row.ranks ?? { precision: [], jaccard: [] };
  const last = precision.length;
  if (last < 2) return [];
  const svg = document.createElementNS(SVG, "svg");
  const draw = (values, className) => {
    const line = document.createElementNS(svg.namespaceURI, "polyline");
    line.setAttribute("points", values.map((v, i) => `${(100 * i / (last - 1)).toFixed(1)},${(22 - 20 * v).toFixed(1)}`).join(" "));
    line.setAttribute("class", className);
    svg.append(line);
  };
  svg.setAttribute("viewBox", "0 0 100 24");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const say = (n) => `rank ${n}: precision ${Math.round(100 * precision[n - 1])} %, mean Jaccard ${jaccard[n - 1].toFixed(2)}`;
  const text = `By rank, 1 to ${last}. ${[1, 5, 10, 20, 50].filter((n) => n <= last).map(say).join("; ")}`;
  svg.setAttribute("aria-label", text);
  draw(precision, "precision");
  draw(jaccard, "mean");
  const holder = make("span", "by-rank", svg);
  holder.title = text;
  holder.style.setProperty("--loss", row.color);
  return [holder];
};

export default function ({ data: [data], parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".gallery");
  const focused = parentElement.activeElement?.dataset?.at; // keep the place through a new query
  const { query, rows, images } = data;
  const called = (name) => data.titles[name] ?? name;

  const act = (action, name) => {
    root.classList.add("busy");
    setTriggerValue("act", [action, name]);
  };
  const explain = (row, name) => setTriggerValue("why", [row, name]); // the grid stays as it is

  // Its name is what stands in it, so that whoever speaks to the page can say what is read; the title has it in full.
  const button = (name, alt, title, at, className, ...children) => {
    const node = make("button", className, picture(images, name, alt, called(name)), ...children);
    Object.assign(node, { type: "button", title, tabIndex: -1 });
    node.dataset.at = at;
    node.dataset.name = name;
    node.onclick = () => {
      root.classList.add("busy");
      setTriggerValue("query", name);
    };
    return node;
  };

  const legend = make("div", "legend", "Jaccard 0", make("i", "scale"), "1",
    make("span", "shared", "shared"), make("span", "missing", "−missing"), make("span", "extra", "+extra"));
  legend.querySelector("i").style.background = `linear-gradient(90deg, ${data.scale.join(", ")})`;

  const asked = make("aside", "query", make("h2", "", "Query"), picture(images, query.image, query.alt, query.name),
    make("div", "name", query.name), make("div", "labels", query.labels.join(", ")));
  asked.dataset.name = query.name;
  if (query.earlier.length) {
    const strip = make("div", "earlier");
    query.earlier.forEach((name, i) => {
      const title = `Earlier query ${called(name)}`;
      strip.append(button(name, title, title, `earlier:${i}`, "small"));
    });
    asked.append(make("h2", "", "Earlier queries"), strip);
  }

  const list = make("div", "rows", legend);
  rows.forEach((row, r) => {
    const title = make("h2", "", row.title);
    title.style.setProperty("--loss", row.color);
    const section = make("section", "row", make("header", "", title,
      ...row.facts.map((fact) => make("span", "fact", fact)), ...byRank(row), make("span", "about", row.about)));
    section.setAttribute("aria-label", row.title);
    if (row.note) section.append(make("p", "note", row.note));
    const tiles = make("div", "tiles");
    row.tiles.forEach((tile, i) => {
      const node = button(tile.name, called(tile.name), tile.alt, `${r}:${i}`, "tile",
        make("span", "rank", make("b", "", String(tile.rank)),
          make("span", "", tile.jaccard ? `J ${tile.jaccard}` : `cos ${tile.cosine}`)), labels(tile));
      node.style.setProperty("--jaccard", tile.color);
      const cell = make("div", "cell", node);
      if (tile.split) cell.append(make("span", "split", tile.split));
      if (row.why) {
        const why = make("button", "why", "why?");
        Object.assign(why, { type: "button", tabIndex: -1, title: "Which regions make it similar? (W)" });
        why.setAttribute("aria-label", `why? Regions that make ${called(tile.name)} similar`);
        why.onclick = () => explain(row.key, tile.name);
        node.dataset.row = row.key;
        cell.append(why);
      }
      if (data.actions.length) {
        const bar = make("span", "acts");
        for (const [action, sign, title, letter] of data.actions) {
          const one = make("button", "act", sign);
          Object.assign(one, { type: "button", tabIndex: -1, title: `${title} (${letter})` });
          one.setAttribute("aria-label", `${title}: ${called(tile.name)}`);
          one.setAttribute("aria-pressed", tile.marks.includes(action));
          one.dataset.at = `${r}:${i}`; // afterwards the keys go on from its picture
          one.onclick = () => act(action, tile.name);
          bar.append(one);
        }
        cell.append(bar);
      }
      tiles.append(cell);
    });
    section.append(tiles);
    list.append(section);
  });
  root.style.setProperty("--columns", data.columns);
  root.classList.remove("busy");
  root.replaceChildren(asked, list);

  // One stop for the tab key; the arrows walk from tile to tile, by what is beside, above and below on the screen.
  const all = [...root.querySelectorAll("button:not(.why, .act)")];
  const stop = all.find((node) => node.dataset.at === focused) ?? all.find((node) => node.className === "tile");
  if (stop) stop.tabIndex = 0;
  if (focused) stop?.focus({ preventScroll: true });
  root.onfocusin = (event) => all.forEach((node) => (node.tabIndex = node === event.target ? 0 : -1));
  root.onkeydown = (event) => {
    const here = all.indexOf(event.target);
    if (here >= 0 && event.key.toLowerCase() === "w" && all[here].dataset.row) {
      event.preventDefault();
      explain(all[here].dataset.row, all[here].dataset.name);
      return;
    }
    const action = data.actions.find(([, , , letter]) => letter === event.key.toUpperCase());
    if (here >= 0 && action && all[here].className === "tile" && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      act(action[0], all[here].dataset.name);
      return;
    }
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
