// Draws data = {images, names, alts, maps (2, H, W), pairs (HW, HW), cosine}; names only ever become text nodes.
const SHADE = [9, 20, 31], BLUE = [40, 110, 230], DARKEST = 0.86, NUMBERS = 36;

const make = (tag, className, ...children) => {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
};

// One pixel per region; the browser blends between them.
const paint = (canvas, values, low, high) => {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  values.forEach((value, i) => {
    // what adds nothing is dark, also where nothing adds more; of what adds, all the same is all bright
    const clear = value <= 0 ? 0 : high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 1;
    pixels.data.set([...(value < 0 ? BLUE : SHADE), 255 * DARKEST * (1 - clear)], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
};

export default function ({ data: [data], parentElement }) {
  const root = parentElement.querySelector(".why");
  const [high, wide] = [data.maps[0].length, data.maps[0][0].length];
  const flat = data.maps.map((rows) => rows.flat());
  const most = Math.max(...flat.flat()), least = Math.max(0, Math.min(...flat.flat()));
  const percent = (value, digits = 0) => `${(100 * value / data.cosine).toFixed(digits)} %`;
  const canvases = [], cells = [[], []];
  const ends = [make("span", ""), make("span", "")];

  const show = (side, values, low, top, digits = 0) => {
    paint(canvases[side], values, low, top);
    cells[side].forEach((node, i) => (node.textContent = high * wide <= NUMBERS ? percent(values[i], digits) : ""));
  };
  const rest = () => {
    [0, 1].forEach((side) => show(side, flat[side], least, most));
    ends[0].textContent = percent(least);
    ends[1].textContent = `${percent(most)} of the cosine; an even share would be ${percent(data.cosine / (high * wide))}`;
  };
  // What the region (side, at) adds together with each region of the other image.
  const pointAt = (side, at) => {
    const values = side === 0 ? data.pairs[at] : data.pairs.map((row) => row[at]);
    const [smallest, largest] = [Math.max(0, Math.min(...values)), Math.max(...values)];
    paint(canvases[side], flat[side].map((_, i) => Number(i === at)), 0, 1);
    show(1 - side, values, smallest, largest, 1);
    ends[0].textContent = percent(smallest, 1);
    ends[1].textContent = `${percent(largest, 1)} of the cosine, with this region of the other image`;
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
  root.replaceChildren(...figures, make("div", "scale", ends[0], make("i", ""), ends[1]));
  rest();
  root.dataset.drawn = data.names[1];
}
