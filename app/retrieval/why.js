// Draws data = {images, names, alts, maps (2, H, W), pairs (HW, HW), cosine}; names only ever become text nodes.
const AMBER = [255, 174, 0], BLUE = [40, 110, 230], STRONGEST = 0.78, NUMBERS = 36;

const make = (tag, className, ...children) => {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
};

// One pixel per region; the browser blends between them.
const paint = (canvas, values, most) => {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  values.forEach((value, i) => {
    const share = most > 0 ? Math.min(1, Math.abs(value) / most) : 0;
    pixels.data.set([...(value < 0 ? BLUE : AMBER), 255 * STRONGEST * share], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
};

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".why");
  const [high, wide] = [data.maps[0].length, data.maps[0][0].length];
  const flat = data.maps.map((rows) => rows.flat());
  const most = Math.max(...flat.flat().map(Math.abs));
  const percent = (value) => `${(100 * value / data.cosine).toFixed(0)} %`;
  const canvases = [], cells = [[], []];
  const legend = make("span", "");

  const show = (side, values, largest) => {
    paint(canvases[side], values, largest);
    cells[side].forEach((node, i) => (node.textContent = high * wide <= NUMBERS ? percent(values[i]) : ""));
  };
  const rest = () => {
    [0, 1].forEach((side) => show(side, flat[side], most));
    legend.textContent = `${percent(most)} of the cosine`;
  };
  // What the region (side, at) adds together with each region of the other image.
  const pointAt = (side, at) => {
    const values = side === 0 ? data.pairs[at] : data.pairs.map((row) => row[at]);
    const largest = Math.max(...values.map(Math.abs));
    const alone = flat[side].map((value, i) => (i === at ? value : 0));
    show(side, alone, most);
    show(1 - side, values, largest);
    legend.textContent = `${(100 * largest / data.cosine).toFixed(1)} % of the cosine`;
  };

  const figures = [0, 1].map((side) => {
    const canvas = make("canvas", "");
    [canvas.width, canvas.height] = [wide, high];
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", data.alts[side]);
    canvases.push(canvas);
    const grid = make("div", "cells");
    grid.style.gridTemplate = `repeat(${high}, 1fr) / repeat(${wide}, 1fr)`;
    flat[side].forEach((value, at) => {
      const node = make("button", "");
      node.type = "button";
      node.setAttribute("aria-label", `row ${Math.floor(at / wide) + 1} column ${at % wide + 1}: ${percent(value)}`);
      node.onmouseenter = node.onfocus = () => pointAt(side, at);
      node.onmouseleave = node.onblur = rest;
      cells[side].push(node);
      grid.append(node);
    });
    const frame = make("div", "frame");
    if (data.images[side]) {
      const img = make("img", "");
      Object.assign(img, { src: data.images[side], alt: "" });
      frame.append(img);
    }
    frame.append(canvas, grid);
    return make("figure", "", frame, make("figcaption", "", data.names[side]));
  });
  root.replaceChildren(...figures, make("div", "scale", "0", make("i", ""), legend));
  rest();
  root.dataset.drawn = data.names[1];
}
