// Draws data = {maps, rows, columns, groups, chosen, ...} on canvases: a cell's hover shows both images, a click
// or Enter reports both names. Pictures come from the tiles component by `data.tiles`. Text only ever becomes
// text nodes, names come from files.
const make = (tag, className, ...children) => {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
};

const floats = (base64) => new Float32Array(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer);
const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

// 256 colours between the stops of a scale
const table = (scale) => {
  const stops = scale.map(([at, hex]) => [at, channels(hex)]);
  return Array.from({ length: 256 }, (_, n) => {
    const x = n / 255;
    const k = Math.max(1, stops.findIndex(([at]) => at >= x));
    const [[a, from], [b, to]] = [stops[k - 1], stops[k]];
    return from.map((v, i) => Math.round(v + ((to[i] - v) * (x - a)) / (b - a)));
  });
};

const number = (x) => {
  if (!Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  if (size === 0) return "0";
  return size >= 1000 ? x.toFixed(0) : size >= 0.001 ? String(Number(x.toPrecision(4))) : x.toExponential(2);
};
const short = (x) => (Math.abs(x) >= 10 ? x.toFixed(0) : x.toFixed(2).replace(/^-(0\.00)$/, "$1").replace(/^(-?)0\./, "$1."));
// numbers inside cells are counted in this unit: 1, or a power of ten for a map of small numbers
const unit = ({ low, high }) => {
  const size = Math.max(Math.abs(low), Math.abs(high));
  return size >= 0.1 || size === 0 ? 1 : 10 ** Math.floor(Math.log10(size));
};

export default function ({ data: [data], parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".heatmaps");
  const { rows, columns, groups } = data;
  const R = rows.length, C = columns.length;
  const opens = columns.some((column) => column.tile >= 0); // prototypes have no pair
  const maps = data.maps.map((map) => ({ ...map, values: floats(map.values), colors: table(map.scale) }));
  const focused = parentElement.activeElement?.dataset?.map;
  root.style.setProperty("--widest", data.widest);
  const names = rows.map((row) => row.name).join("\n");
  const before = root.names === names && root.querySelector("canvas")?.dataset.cursor; // else other cells are there
  root.names = names;
  let cursor = (before && JSON.parse(before)) || data.chosen || [0, C > 1 ? 1 : 0];
  if (cursor[0] >= R || cursor[1] >= C) cursor = [0, 0];

  const gutter = make("div", "gutter");
  gutter.style.width = data.gutter;
  const tip = make("div", "tip");
  tip.setAttribute("role", "status");
  const canvases = maps.map((map, m) => {
    const canvas = make("canvas", "");
    canvas.tabIndex = 0;
    canvas.dataset.map = m;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${map.title}: ${map.note}. ${R} rows, ${C} columns; ` +
      `arrow keys move from cell to cell${opens ? ", Enter opens the pair" : ""}.`);
    return canvas;
  });
  const notes = maps.map((map) => make("span", "note", map.note));
  const figures = maps.map((map, m) => {
    const bar = make("i", "");
    bar.style.background = `linear-gradient(90deg, ${map.scale.map(([at, c]) => `${c} ${100 * at}%`).join(", ")})`;
    notes[m].title = map.note;
    const scale = make("div", "scale", number(map.low), bar, number(map.high));
    return make("figure", "", make("figcaption", "", make("b", "", map.title), notes[m], scale), canvases[m]);
  });
  root.replaceChildren(gutter, ...figures, tip);
  root.dataset.version = data.version;
  root.dataset.serverMs = data.ms;

  const style = getComputedStyle(root);
  const ink = style.color, empty = style.getPropertyValue("--st-secondary-background-color");
  let cell = 1, tall = 1;

  const color = (map, x) => {
    const share = map.high > map.low ? (x - map.low) / (map.high - map.low) : 0.5;
    return map.colors[Math.max(0, Math.min(255, Math.round(255 * share)))];
  };

  const draw = () => {
    const width = canvases[0].clientWidth;
    if (!width) return;
    const ratio = window.devicePixelRatio || 1;
    cell = width / C;
    tall = data.row_height || Math.min(cell, data.tallest / R);
    const height = tall * R;
    canvases.forEach((canvas, m) => {
      const map = maps[m];
      canvas.style.height = `${height}px`;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      const small = new OffscreenCanvas(C, R), image = new ImageData(C, R);
      const background = channels(/^#\w{6}/.test(empty.trim()) ? empty.trim() : "#888888");
      for (let n = 0; n < R * C; n++) {
        const x = map.values[n];
        image.data.set([...(Number.isNaN(x) ? background : color(map, x)), 255], 4 * n);
      }
      small.getContext("2d").putImageData(image, 0, 0);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(small, 0, 0, width, height);
      if (data.text && cell >= 20 && tall >= 12) {
        pen.font = `${Math.min(12, cell / 2.6)}px ${style.fontFamily}`;
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        const one = unit(map);
        notes[m].textContent = one === 1 ? map.note : `${map.note}; numbers × ${one.toExponential(0)}`;
        for (let n = 0; n < R * C; n++) {
          const x = map.values[n];
          if (Number.isNaN(x)) continue;
          const [r, g, b] = color(map, x);
          pen.fillStyle = 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111" : "#fff";
          pen.fillText(short(x / one), ((n % C) + 0.5) * cell, (Math.floor(n / C) + 0.5) * tall);
        }
      }
      pen.globalAlpha = 0.35;
      pen.fillStyle = ink;
      groups.forEach(([, start]) => start && pen.fillRect(0, start * tall - 0.5, width, 1));
      data.cuts.forEach((start) => pen.fillRect(start * cell - 0.5, 0, 1, height));
      pen.globalAlpha = 1;
      if (data.chosen) outline(pen, data.chosen, ink, 2);
    });
    const top = canvases[0].offsetTop - gutter.offsetTop;
    gutter.style.height = `${top + height}px`;
    let last = -Infinity;
    gutter.replaceChildren(...groups.flatMap(([name, start, stop]) => {
      const at = top + ((start + stop) / 2) * tall;
      if (!name || at - last < 11) return []; // no room: hover tells
      last = at;
      const label = make("span", "", name);
      label.title = name;
      label.style.top = `${at}px`;
      return [label];
    }));
    root.dataset.drawn = data.version;
  };

  const outline = (pen, [r, c], paint, width) => {
    pen.strokeStyle = paint;
    pen.lineWidth = width;
    pen.strokeRect(c * cell - 1, r * tall - 1, cell + 2, tall + 2);
  };

  const picture = (item) => {
    const tiles = globalThis.maclTiles?.[data.tiles];
    const node = make("div", "picture");
    if (!tiles || item.tile < 0) return [];
    const scale = 84 / tiles.edge;
    node.style.background = `url(${tiles.sprite}) ${-84 * (item.tile % tiles.across)}px ` +
      `${-84 * Math.floor(item.tile / tiles.across)}px / ${tiles.across * tiles.edge * scale}px auto`;
    return [node];
  };

  const side = (who, item, other) => {
    const held = make("div", "");
    item.labels.forEach((label, i) =>
      held.append(i ? ", " : "", make("span", other.labels.includes(label) ? "shared" : "alone", label)));
    return make("div", "", make("div", "who", who), ...picture(item), make("div", "name", item.name), held);
  };

  const show = (r, c, x, y) => {
    const lines = maps.map((map) =>
      make("tr", "", make("td", "", map.title), make("td", "", number(map.values[r * C + c]))));
    tip.replaceChildren(
      make("div", "side", side(data.who[0], rows[r], columns[c]), side(data.who[1], columns[c], rows[r])),
      make("table", "", ...lines));
    tip.style.display = "block";
    const left = x + 18 + tip.offsetWidth > root.clientWidth ? x - 18 - tip.offsetWidth : x + 18;
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${Math.max(0, y + 18)}px`;
  };
  const hide = () => { tip.style.display = "none"; };
  const pick = (r, c) => {
    if (data.same && r === c) return; // an image is no pair with itself
    setTriggerValue("pick", [rows[r].name, columns[c].name]);
  };

  canvases.forEach((canvas) => {
    canvas.dataset.cursor = JSON.stringify(cursor);
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [Math.min(R - 1, Math.floor((event.clientY - box.top) / tall)),
        Math.min(C - 1, Math.floor((event.clientX - box.left) / cell))];
    };
    canvas.onpointermove = (event) => {
      const [r, c] = at(event), box = root.getBoundingClientRect();
      if (r >= 0 && c >= 0) show(r, c, event.clientX - box.left, event.clientY - box.top);
    };
    canvas.onpointerleave = hide;
    canvas.onblur = hide;
    canvas.onclick = (event) => {
      cursor = at(event);
      canvas.dataset.cursor = JSON.stringify(cursor);
      pick(...cursor);
    };
    canvas.onkeydown = (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (step) {
        cursor = [Math.max(0, Math.min(R - 1, cursor[0] + step[0])), Math.max(0, Math.min(C - 1, cursor[1] + step[1]))];
        canvas.dataset.cursor = JSON.stringify(cursor);
        draw();
        const pen = canvas.getContext("2d");
        outline(pen, cursor, ink, 3);
        show(...cursor, canvas.offsetLeft + cursor[1] * cell, canvas.offsetTop + cursor[0] * tall);
      } else if (event.key === "Enter") pick(...cursor);
      else if (event.key === "Escape") hide();
      else return;
      event.preventDefault();
    };
  });
  const watch = new ResizeObserver(draw);
  watch.observe(root);
  draw();
  if (focused !== undefined) canvases[focused]?.focus({ preventScroll: true });
  return () => watch.disconnect();
}
