// Keeps the pictures of a batch, one sprite for all of them, for every component of the page (data.sprite), and
// draws strips of them (data.strips). Text only ever becomes text nodes, names come from files.
const make = (tag, className, ...children) => {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
};

export default function ({ data: [data], parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".tiles");
  if (data.sprite !== undefined) {
    globalThis.maclTiles = { [data.key]: data };
    globalThis.dispatchEvent(new Event("macl-tiles")); // strips may have been drawn before
    return;
  }

  const picture = (tile, name) => {
    const node = make("div", "picture");
    const tiles = globalThis.maclTiles?.[data.key];
    if (!tiles?.sprite || tile < 0) {
      node.append(name);
      return node;
    }
    const x = tile % tiles.across, y = Math.floor(tile / tiles.across);
    const at = (n, of) => (of > 1 ? `${(100 * n) / (of - 1)}%` : "0");
    node.style.background = `url(${tiles.sprite}) ${at(x, tiles.across)} ${at(y, tiles.down)} / ` +
      `${100 * tiles.across}% ${100 * tiles.down}%`;
    return node;
  };

  const draw = () => root.replaceChildren(...data.strips.map((strip) => {
    const title = make("h2", "", strip.title, make("span", "", strip.note));
    title.style.setProperty("--mark", strip.color);
    const line = make("div", `strip ${strip.kind}`);
    line.append(...strip.tiles.map(({ tile, name, alt }) => {
      const node = make(data.clicks ? "button" : "figure", "tile", picture(tile, name));
      node.title = alt;
      node.setAttribute("aria-label", alt);
      if (!data.clicks) {
        node.append(make("figcaption", "", alt));
        return node;
      }
      node.type = "button";
      node.dataset.name = name;
      if (name === data.chosen) node.classList.add("chosen");
      node.onclick = () => setTriggerValue("pick", name);
      return node;
    }));
    return make("section", "", title, line);
  }));
  draw();
  globalThis.addEventListener("macl-tiles", draw);
  return () => globalThis.removeEventListener("macl-tiles", draw);
}
