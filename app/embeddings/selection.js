// Draws data = {items, counts, total, all, first, tile, sprite}: images in a grid, and how often each label occurs
// among them. Text only ever becomes text nodes, names come from files.
const make = (tag, className, ...children) => {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
};
const point = (row) => globalThis.dispatchEvent(new CustomEvent("macl-scatter-point", { detail: row }));

export default function ({ data: [data], parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".selection");
  const { tile, items } = data;
  // One short address for all tiles: the sheet itself in each of 400 styles costs seconds.
  if (root.sheet) URL.revokeObjectURL(root.sheet);
  root.sheet = "";
  if (tile.sprite) {
    const sheet = Uint8Array.from(atob(tile.sprite.split(",")[1]), (c) => c.charCodeAt(0));
    root.sheet = URL.createObjectURL(new Blob([sheet], { type: "image/jpeg" }));
  }
  const at = (k, of) => (of > 1 ? `${(100 * k) / (of - 1)}%` : "0");
  const grid = make("div", "grid", ...items.map((item, k) => {
    const node = make(item.href ? "a" : "div", "tile", ...(tile.sprite ? [] : [item.name]));
    if (item.href) Object.assign(node, { href: item.href, target: "_blank", rel: "noopener" });
    if (tile.sprite) node.style.background = `url(${root.sheet}) ${at(k % tile.across, tile.across)} ` +
      `${at(Math.floor(k / tile.across), tile.down)} / ${100 * tile.across}% ${100 * tile.down}%`;
    node.style.setProperty("--mark", item.color);
    node.title = `${item.name}: ${item.labels.join(", ")}`;
    node.setAttribute("aria-label", node.title + (item.href ? "; retrieve with it (a new tab)" : ""));
    if (!item.href) node.setAttribute("role", "img");
    node.dataset.name = item.name;
    node.onpointerenter = node.onfocus = () => point(item.row);
    node.onpointerleave = node.onblur = () => point(-1);
    return node;
  }));
  const counts = make("table", "", ...data.counts.map(([label, inside, all]) => {
    const bar = make("i", "");
    bar.style.width = `${(100 * inside) / all}%`;
    const name = make("th", "", label);
    name.scope = "row";
    return make("tr", "", name, make("td", "number", `${inside} of ${all}`), make("td", "track", bar));
  }));
  counts.setAttribute("aria-label", "Labels among the selected images");
  const last = data.first + items.length;
  const pager = make("div", "pager");
  if (items.length < data.total) {
    const go = (text, to, off) => {
      const node = make("button", "", text);
      Object.assign(node, { type: "button", disabled: off, onclick: () => setTriggerValue("page", to) });
      return node;
    };
    pager.append(go("Previous", data.page - 1, data.first === 0), `${data.first + 1}–${last} of ${data.total.toLocaleString("en")}`,
      go("Next", data.page + 1, last >= data.total));
  }
  root.replaceChildren(make("div", "left", grid, pager), make("div", "right", make("h2", "", "Labels"), counts));
  root.dataset.total = data.total;
  root.dataset.shown = items.length;
}
