// Draws data = {version, n, dims, panels, values, legend, tall}: pictures of one or more embedding spaces side by
// side. What is drawn with the lasso in one is marked in all. Points are rows of one list; the server knows their
// names. Painted into pixels by hand: 50,000 points take some 20 ms without a GPU. Pictures of hovered points and
// the selection of the server come from marks.js by globalThis.maclScatter. Text only ever becomes text nodes.
const make = (tag, className, ...children) => {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
};
const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const NONE = 255, MORPH_MS = 450, REACH = 9, NEAR = 8;
const memory = new WeakMap(); // what outlives a new `data`: view, tool, selection, pictures

const rgb = (text) => {
  const hex = text.trim();
  if (/^#[0-9a-f]{6}/i.test(hex)) return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return (hex.match(/\d+(\.\d+)?/g) ?? [128, 128, 128]).slice(0, 3).map(Number);
};
const pack = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const between = (a, b, share) => a.map((v, i) => Math.round(v + (b[i] - v) * share));
const along = (scale, share) => {
  const k = Math.max(1, scale.findIndex(([at]) => at >= share));
  const [[a, from], [b, to]] = [scale[k - 1], scale[k]];
  return between(rgb(from), rgb(to), (share - a) / (b - a));
};
const times = (a, b) => [0, 1, 2].map((i) => [0, 1, 2].map((j) => a[i].reduce((sum, v, k) => sum + v * b[k][j], 0)));
const turn = (about, angle) => {
  const c = Math.cos(angle), s = Math.sin(angle);
  return about === "y" ? [[c, 0, s], [0, 1, 0], [-s, 0, c]] : [[1, 0, 0], [0, c, -s], [0, s, c]];
};
const START = () => ({ x: 0, y: 0, zoom: 1, turn: times(turn("x", 0.45), turn("y", -0.6)) });

// A disc of this radius in pixels as offsets and coverages, 0 … 256
const stamps = new Map();
const stamp = (radius) => {
  const key = Math.round(radius * 8);
  if (!stamps.has(key)) {
    const r = key / 8, reach = Math.ceil(r + 0.5), cells = [];
    for (let y = -reach; y <= reach; y++)
      for (let x = -reach; x <= reach; x++) {
        const cover = Math.max(0, Math.min(1, r + 0.5 - Math.hypot(x, y)));
        if (cover > 0) cells.push([x, y, cover]);
      }
    stamps.set(key, { reach, x: Int32Array.from(cells, (c) => c[0]), y: Int32Array.from(cells, (c) => c[1]),
      cover: Float64Array.from(cells, (c) => c[2]) });
  }
  return stamps.get(key);
};

export default function ({ data: [data], parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".scatter");
  const kept = memory.get(root) ?? { view: START(), tool: "lasso", seq: 0, pictures: new Map(), at: null };
  memory.set(root, kept);
  kept.send = setTriggerValue;
  clearTimeout(kept.leaving);
  // A rerun of the page that changes nothing must not tear down a lasso that is being drawn.
  const close = () => { kept.leaving = setTimeout(() => { kept.stop?.(); kept.mark = null; }, 300); };
  if (kept.mark === data.mark && root.childElementCount) return close;
  kept.mark = data.mark;
  kept.pictures = new Map(); // what they say is that of the runs and colours of a drawing
  kept.stop?.();
  const { n, dims, legend } = data;
  if (kept.version !== data.version || kept.selected?.length !== n) {
    Object.assign(kept, { version: data.version, selected: new Uint8Array(n) });
    if (kept.dims !== dims) kept.view = START();
  }
  kept.dims = dims;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const shared = data.values ? bytes(data.values) : new Uint8Array(n).fill(NONE);
  const panels = data.panels.map((panel, p) => {
    const rows = panel.rows ? new Int32Array(bytes(panel.rows).buffer) : null;
    const count = rows ? rows.length : n;
    const frames = panel.frames.map((frame) => {
      const raw = new Uint16Array(bytes(frame.at).buffer), at = new Float32Array(raw.length);
      for (let i = 0; i < raw.length; i++) at[i] = raw[i] / 32767.5 - 1;
      return { ...frame, at };
    });
    return { ...panel, p, rows, count, frames, values: panel.values ? bytes(panel.values) : null,
      px: new Float32Array(count), py: new Float32Array(count), depth: new Float32Array(count),
      from: kept.shown?.[p]?.length === count * dims ? kept.shown[p] : null, now: null };
  });
  const row = (panel, i) => (panel.rows ? panel.rows[i] : i);
  const value = (panel, i) => (panel.values ? panel.values[i] : shared[row(panel, i)]);
  const moments = [...new Set(panels.flatMap((panel) => panel.frames.map((frame) => frame.epoch)))].sort((a, b) => a - b);
  if (!moments.includes(kept.epoch)) kept.epoch = moments.at(-1);
  let focus = -1, marked = -1, lasso = null, drag = null, began = performance.now(), waiting = 0, timer = 0, playing = 0;

  // -- what stands around the pictures
  const button = (text, title, act) => {
    const node = make("button", "", text);
    Object.assign(node, { type: "button", title, onclick: act });
    return node;
  };
  const tools = ["lasso", "move"].map((tool) => {
    const text = tool === "lasso" ? "Lasso" : dims === 3 ? "Turn" : "Move";
    return [tool, button(text, tool === "lasso" ? "Draw around points to see their images; with Shift they are added"
      : `Drag to ${dims === 3 ? "turn" : "move"}, wheel to zoom`, () => { kept.tool = tool; dress(); })];
  });
  const zoom = (by, x = 0, y = 0) => {
    const view = kept.view, next = Math.max(0.5, Math.min(60, view.zoom * by));
    view.x = x - (x - view.x) * (next / view.zoom);
    view.y = y - (y - view.y) * (next / view.zoom);
    view.zoom = next;
    draw();
  };
  const told = make("span", "told");
  const bar = make("div", "bar", make("span", "group", ...tools.map(([, node]) => node)),
    make("span", "group", button("+", "Nearer", () => zoom(1.4)), button("−", "Farther", () => zoom(1 / 1.4)),
      button("Reset", "The whole picture", () => { kept.view = START(); draw(); })));
  const clear = button("Clear", "Nothing selected (Escape)", () => select(new Uint8Array(n)));
  bar.append(make("span", "group", clear), told);
  const slider = make("input", ""), moment = make("output", "");
  const play = button("▶ Play", "From the first epoch to the last", () => (playing ? pause() : start()));
  if (moments.length > 1) {
    Object.assign(slider, { type: "range", min: 0, max: moments.length - 1, step: 1, value: moments.indexOf(kept.epoch) });
    slider.setAttribute("aria-label", "Epoch");
    slider.oninput = () => {
      const wanted = moments[slider.value]; // pausing puts the slider back
      pause();
      show(wanted);
    };
    bar.append(make("span", "frames", play, slider, moment));
  }
  const canvases = panels.map(() => {
    const canvas = make("canvas", "");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    return canvas;
  });
  const heads = panels.map(() => make("span", "note"));
  const head = (p, more) => {
    const panel = panels[p], note = more ? `${panel.note} · ${more}` : panel.note;
    heads[p].textContent = note;
    canvases[p].setAttribute("aria-label", `${panel.title}: ${panel.count} images, ${note}. Arrow keys ` +
      `${dims === 3 ? "turn" : "move"}, plus and minus zoom, 0 resets, Escape clears the selection; the legend selects by colour.`);
  };
  panels.forEach((_, p) => head(p, ""));
  const figures = make("div", "panels", ...panels.map((panel, p) => {
    const title = make("b", "", panel.title);
    title.style.setProperty("--loss", panel.color);
    return make("figure", "", make("figcaption", "", title, heads[p]), canvases[p]);
  }));
  figures.style.setProperty("--tall", `${data.tall}px`);
  figures.style.setProperty("--columns", Math.min(panels.length, data.columns));
  const key = make("div", "legend", make("b", "", legend.title));
  const items = (legend.items ?? []).map(([name, color, count], g) => {
    const amount = make("span", "count"), swatch = make("i", "");
    swatch.style.background = color;
    const node = make("button", "", swatch, make("span", "name", name), amount);
    Object.assign(node, { type: "button", title: `Select the ${count} images of "${name}"; with Shift they are added` });
    node.onpointerenter = node.onfocus = () => { focus = g; draw(); };
    node.onpointerleave = node.onblur = () => { focus = -1; draw(); };
    node.onclick = (event) => {
      const next = event.shiftKey ? kept.selected.slice() : new Uint8Array(n);
      panels.forEach((panel) => { for (let i = 0; i < panel.count; i++) if (value(panel, i) === g) next[row(panel, i)] = 1; });
      select(next, event.shiftKey);
    };
    return { node, amount, count };
  });
  if (legend.kind === "scale") {
    const line = make("i", "line");
    line.style.background = `linear-gradient(90deg, ${legend.scale.map(([at, c]) => `${c} ${100 * at}%`).join(", ")})`;
    key.append(make("span", "scale", legend.low, line, legend.high));
  } else key.append(...items.map(({ node }) => node));
  if (legend.none) key.append(make("span", "none", make("i", ""), legend.none));
  const tip = make("div", "tip");
  tip.setAttribute("role", "status");
  const active = parentElement.activeElement; // keep the keys where they were through a new `data`
  const before = [slider, ...canvases][["INPUT", "CANVAS"].indexOf(active?.tagName) < 0 ? -1
    : active.tagName === "INPUT" ? 0 : 1 + [...root.querySelectorAll("canvas")].indexOf(active)];
  root.replaceChildren(bar, figures, key, tip);
  before?.focus({ preventScroll: true });
  root.dataset.version = data.version;

  const dress = () => {
    tools.forEach(([tool, node]) => node.setAttribute("aria-pressed", tool === kept.tool));
    canvases.forEach((canvas) => (canvas.style.cursor = kept.tool === "lasso" ? "crosshair" : "grab"));
    let total = 0;
    for (let i = 0; i < n; i++) total += kept.selected[i];
    told.textContent = total ? `${total.toLocaleString("en")} of ${n.toLocaleString("en")} images` : "";
    clear.disabled = !total;
    root.dataset.selected = total;
    const inside = new Int32Array(256);
    const [first] = panels; // where each picture has its own colours, the legend counts those of the first
    if (total && data.values) for (let i = 0; i < n; i++) inside[shared[i]] += kept.selected[i];
    else if (total) for (let i = 0; i < first.count; i++) inside[value(first, i)] += kept.selected[row(first, i)];
    items.forEach(({ amount, count }, g) => (amount.textContent = total ? `${inside[g]} of ${count}` : `${count}`));
    moment.textContent = moments.length > 1 ? `epoch ${kept.epoch} of ${moments.at(-1)}` : "";
    if (moments.length > 1) slider.value = moments.indexOf(kept.epoch);
    play.textContent = playing ? "❚❚ Pause" : "▶ Play";
  };

  // -- places: the frame of the epoch, on the way from what was shown before
  const target = (panel) => {
    let found = panel.frames[0];
    for (const frame of panel.frames) if (frame.epoch <= kept.epoch) found = frame;
    return found.at;
  };
  const leave = () => { panels.forEach((panel) => (panel.from = panel.now)); began = performance.now(); };
  const show = (epoch) => { leave(); kept.epoch = epoch; dress(); draw(); };
  const pause = () => { clearInterval(playing); playing = 0; dress(); };
  const start = () => {
    if (kept.epoch === moments.at(-1)) show(moments[0]);
    playing = setInterval(() => {
      const next = moments[moments.indexOf(kept.epoch) + 1];
      if (next === undefined) return pause();
      show(next);
    }, still ? 900 : 700);
    dress();
  };

  const place = (panel, share) => {
    const to = target(panel);
    if (share >= 1 || !panel.from) { panel.now = to; return; }
    const eased = share * share * (3 - 2 * share);
    if (!panel.between) panel.between = [new Float32Array(to.length), new Float32Array(to.length)];
    const now = panel.between[panel.now === panel.between[0] ? 1 : 0];
    for (let i = 0; i < to.length; i++) now[i] = panel.from[i] + (to[i] - panel.from[i]) * eased;
    panel.now = now;
  };

  const project = (panel, width, height) => {
    const { x, y, zoom, turn: m } = kept.view, at = panel.now, size = 0.47 * Math.min(width, height) * zoom;
    const cx = width / 2 + x, cy = height / 2 + y;
    if (dims === 2)
      for (let i = 0; i < panel.count; i++) {
        panel.px[i] = cx + size * at[2 * i];
        panel.py[i] = cy - size * at[2 * i + 1];
      }
    else
      for (let i = 0; i < panel.count; i++) {
        const a = at[3 * i], b = at[3 * i + 1], c = at[3 * i + 2];
        panel.px[i] = cx + size * (m[0][0] * a + m[0][1] * b + m[0][2] * c);
        panel.py[i] = cy - size * (m[1][0] * a + m[1][1] * b + m[1][2] * c);
        panel.depth[i] = m[2][0] * a + m[2][1] * b + m[2][2] * c; // larger: nearer
      }
  };

  const paint = (panel, canvas) => {
    const width = canvas.clientWidth, height = canvas.clientHeight, ratio = devicePixelRatio || 1;
    if (!width || !height) return;
    const W = Math.round(width * ratio), H = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    if (canvas.width !== W || canvas.height !== H || !panel.image) {
      Object.assign(canvas, { width: W, height: H });
      panel.image = pen.createImageData(W, H);
      panel.pixels = new Uint32Array(panel.image.data.buffer);
    }
    project(panel, width, height);
    const style = getComputedStyle(root);
    const paper = rgb(style.getPropertyValue("--st-secondary-background-color")), ink = rgb(style.color);
    const grey = between(paper, ink, 0.45), colors = new Uint32Array(256).fill(pack(grey));
    if (legend.kind === "scale") for (let i = 0; i < NONE; i++) colors[i] = pack(along(legend.scale, i / (NONE - 1)));
    else (legend.items ?? []).forEach(([, color], g) => (colors[g] = pack(rgb(color))));
    panel.paint = (i) => {
      const color = colors[value(panel, i)];
      return `rgb(${color & 255} ${(color >> 8) & 255} ${(color >> 16) & 255})`;
    };
    const { pixels, px, py, count } = panel;
    pixels.fill(pack(paper));
    const any = focus >= 0 || root.dataset.selected > 0;
    const strong = (i) => (focus >= 0 ? value(panel, i) === focus : kept.selected[row(panel, i)] === 1);
    const radius = Math.max(1.1, Math.min(4.2, 46 / Math.sqrt(n ** 0.62))) * ratio * Math.min(2, kept.view.zoom ** 0.25);
    const above = new Uint8Array(256).fill(legend.kind === "scale" ? 1 : 0); // small groups lie above large ones
    if (legend.kind === "scale") above[NONE] = 0;
    [...(legend.items ?? []).keys()].sort((a, b) => legend.items[b][2] - legend.items[a][2])
      .forEach((g, k) => (above[g] = Math.min(63, k + 1)));
    const order = new Int32Array(count), layer = new Uint8Array(count);
    const layers = 130; // of depth, and once more for what is selected
    for (let i = 0; i < count; i++) {
      let at = dims === 3 ? Math.max(0, Math.min(63, Math.round(32 + 24 * panel.depth[i]))) : above[value(panel, i)];
      if (any && strong(i)) at += 64;
      layer[i] = at;
    }
    const starts = new Int32Array(layers + 1);
    for (let i = 0; i < count; i++) starts[layer[i] + 1]++;
    for (let k = 0; k < layers; k++) starts[k + 1] += starts[k];
    for (let i = 0; i < count; i++) order[starts[layer[i]]++] = i;
    const dot = (cells, cx, cy, color, alpha) => {
      const { x, y, cover, reach } = cells, crb = color & 0xff00ff, cg = color & 0x00ff00, a256 = alpha * 256;
      if (cx < -reach || cy < -reach || cx >= W + reach || cy >= H + reach) return;
      const inside = cx >= reach && cy >= reach && cx < W - reach && cy < H - reach;
      for (let k = 0; k < cover.length; k++) {
        const u = cx + x[k], v = cy + y[k];
        if (!inside && (u < 0 || v < 0 || u >= W || v >= H)) continue;
        const at = v * W + u, a = (cover[k] * a256) | 0, under = pixels[at];
        const rb = under & 0xff00ff, g = under & 0x00ff00;
        pixels[at] = (0xff000000 | ((rb + (((crb - rb) * a) >>> 8)) & 0xff00ff) | ((g + (((cg - g) * a) >>> 8)) & 0x00ff00)) >>> 0;
      }
    };
    const normal = stamp(radius), ring = stamp(radius + 0.9 * ratio), large = stamp(radius * 1.15), largeRing = stamp(radius * 1.15 + 0.9 * ratio);
    const ground = pack(paper), rings = n <= 6000;
    for (let k = 0; k < count; k++) {
      const i = order[k], x = Math.round(px[i] * ratio), y = Math.round(py[i] * ratio), front = layer[i] >= 64;
      const far = dims === 3 ? 0.45 + 0.55 * Math.min(1, (layer[i] & 63) / 48) : 1;
      const alpha = (any && !front ? 0.16 : value(panel, i) === NONE ? 0.5 : 0.9) * far;
      if (rings && (!any || front)) dot(front ? largeRing : ring, x, y, ground, 0.75);
      dot(front ? large : normal, x, y, colors[value(panel, i)], alpha);
    }
    over(panel, canvas);
  };

  // What changes with every move of the mouse, above the points
  const over = (panel, canvas) => {
    const pen = canvas.getContext("2d"), ratio = devicePixelRatio || 1;
    if (!panel.image) return;
    pen.putImageData(panel.image, 0, 0);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.strokeStyle = getComputedStyle(root).color;
    if (marked >= 0) {
      const i = panel.rows ? panel.rows.indexOf(marked) : marked;
      if (i >= 0 && i < panel.count) {
        pen.fillStyle = panel.paint(i);
        pen.lineWidth = 2.5;
        pen.beginPath();
        pen.arc(panel.px[i], panel.py[i], 7, 0, 7);
        pen.fill();
        pen.stroke();
      }
    }
    if (lasso?.panel === panel && lasso.path.length > 1) {
      pen.lineWidth = 1.5;
      pen.setLineDash([5, 4]);
      pen.beginPath();
      lasso.path.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      pen.stroke();
      pen.globalAlpha = 0.08;
      pen.fillStyle = pen.strokeStyle;
      pen.fill();
      pen.globalAlpha = 1;
      pen.setLineDash([]);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
  };

  const draw = () => {
    if (waiting) return;
    waiting = requestAnimationFrame(() => {
      waiting = 0;
      const from = performance.now(), share = still ? 1 : (from - began) / MORPH_MS;
      panels.forEach((panel, p) => { place(panel, share); paint(panel, canvases[p]); });
      kept.shown = panels.map((panel) => panel.now);
      root.dataset.ms = (performance.now() - from).toFixed(1);
      root.dataset.drawn = data.version;
      if (share < 1 && panels.some((panel) => panel.from)) draw();
    });
  };
  const overAll = () => panels.forEach((panel, p) => over(panel, canvases[p]));

  // -- selection
  const select = (next, add = false) => { // what is added to may hold images that no picture shows now
    kept.selected = next;
    kept.seq += 1;
    dress();
    draw();
    const bits = new Uint8Array(Math.ceil(n / 8));
    for (let i = 0; i < n; i++) if (next[i]) bits[i >> 3] |= 1 << (i & 7);
    let text = "";
    for (let i = 0; i < bits.length; i += 8192) text += String.fromCharCode(...bits.subarray(i, i + 8192));
    kept.send("select", { version: data.version, seq: kept.seq, bits: btoa(text), add });
  };
  const inside = (path, x, y) => {
    let odd = false;
    for (let k = 0, j = path.length - 1; k < path.length; j = k++) {
      const [ax, ay] = path[k], [bx, by] = path[j];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
    return odd;
  };
  const nearest = (panel, x, y, reach) => {
    let best = -1, least = reach * reach;
    for (let i = 0; i < panel.count; i++) {
      const d = (panel.px[i] - x) ** 2 + (panel.py[i] - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  };
  const finish = (event) => {
    const { panel, path } = lasso, next = event.shiftKey ? kept.selected.slice() : new Uint8Array(n);
    lasso = null;
    if (path.length < 4) {
      const [x, y] = path[0], found = nearest(panel, x, y, REACH);
      if (found >= 0) next[row(panel, found)] = event.shiftKey ? 1 - next[row(panel, found)] : 1;
    } else {
      const xs = path.map((p) => p[0]), ys = path.map((p) => p[1]);
      const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
      for (let i = 0; i < panel.count; i++) {
        const x = panel.px[i], y = panel.py[i];
        if (x >= left && x <= right && y >= top && y <= bottom && inside(path, x, y)) next[row(panel, i)] = 1;
      }
    }
    select(next, event.shiftKey);
  };

  // -- the image under the mouse
  const tell = (at, x, y, who) => {
    const known = kept.pictures.get(at);
    const image = make("div", "picture");
    if (known?.uri) image.append(Object.assign(make("img", ""), { src: known.uri, alt: "" }));
    tip.replaceChildren(image, make("div", "", make("div", "name", known?.name ?? "…"),
      make("div", "labels", (known?.labels ?? []).join(", ")), ...(known?.notes?.[who] ? [make("div", "more", known.notes[who])] : [])));
    tip.style.display = "flex";
    tip.style.left = `${Math.max(0, x + 16 + tip.offsetWidth > root.clientWidth ? x - 16 - tip.offsetWidth : x + 16)}px`;
    tip.style.top = `${y + 16}px`;
  };
  const ask = (panel, i) => {
    const near = Array.from({ length: panel.count }, (_, k) => [(panel.px[k] - panel.px[i]) ** 2 + (panel.py[k] - panel.py[i]) ** 2, k])
      .filter(([d]) => d < 3600).sort((a, b) => a[0] - b[0]).slice(0, NEAR + 1).map(([, k]) => row(panel, k));
    const rows = [row(panel, i), ...near].filter((at, k, all) => all.indexOf(at) === k && !kept.pictures.has(at));
    kept.send("hover", { version: data.version, rows });
  };
  const hover = (panel, x, y, boxX, boxY) => {
    const i = nearest(panel, x, y, REACH), at = i < 0 ? -1 : row(panel, i);
    if (at !== marked) {
      marked = at;
      overAll();
      clearTimeout(timer);
      if (at >= 0 && !kept.pictures.has(at)) timer = setTimeout(() => ask(panel, i), 70);
    }
    kept.tipAt = at >= 0 ? [boxX, boxY, panel.p] : null;
    if (at >= 0) tell(at, boxX, boxY, panel.p);
    else tip.style.display = "none";
  };

  // All places of the mouse, also those that a busy browser has put into one event
  const extend = (event) => {
    const box = event.target.getBoundingClientRect(), every = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of every.length ? every : [event]) {
      const at = [clientX - box.left, clientY - box.top], [u, v] = lasso.path.at(-1);
      if (Math.hypot(at[0] - u, at[1] - v) > 2) lasso.path.push(at);
    }
  };
  canvases.forEach((canvas, p) => {
    const panel = panels[p];
    canvas.onpointerdown = (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      const at = [event.offsetX, event.offsetY];
      if (kept.tool === "lasso") lasso = { panel, path: [at] };
      else drag = at;
      tip.style.display = "none";
    };
    canvas.onpointermove = (event) => {
      const { offsetX: x, offsetY: y } = event;
      if (lasso) {
        extend(event);
        over(panel, canvas);
      } else if (drag) {
        const [dx, dy] = [x - drag[0], y - drag[1]];
        if (dims === 3 && !event.shiftKey) kept.view.turn = times(times(turn("y", dx / 160), turn("x", dy / 160)), kept.view.turn);
        else { kept.view.x += dx; kept.view.y += dy; }
        drag = [x, y];
        draw();
      } else {
        const box = root.getBoundingClientRect();
        hover(panel, x, y, event.clientX - box.left, event.clientY - box.top);
      }
    };
    canvas.onpointerup = (event) => {
      if (lasso) { extend(event); finish(event); }
      drag = null;
    };
    canvas.onpointercancel = () => { lasso = drag = null; overAll(); };
    canvas.onpointerleave = () => { clearTimeout(timer); marked = -1; kept.tipAt = null; tip.style.display = "none"; overAll(); };
    canvas.ondblclick = () => { if (kept.tool === "move") { kept.view = START(); draw(); } };
    canvas.addEventListener("wheel", (event) => {
      if (kept.tool !== "move" && !event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 400), event.offsetX - canvas.clientWidth / 2, event.offsetY - canvas.clientHeight / 2);
    }, { passive: false });
    canvas.onkeydown = (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (step && dims === 3) kept.view.turn = times(times(turn("y", step[0] / 8), turn("x", step[1] / 8)), kept.view.turn);
      else if (step) { kept.view.x -= 40 * step[0]; kept.view.y -= 40 * step[1]; }
      else if (event.key === "+" || event.key === "=") zoom(1.3);
      else if (event.key === "-") zoom(1 / 1.3);
      else if (event.key === "0") kept.view = START();
      else if (event.key === "Escape") { if (lasso) { lasso = null; overAll(); } else select(new Uint8Array(n)); }
      else return;
      event.preventDefault();
      draw();
    };
  });

  // -- what the server says: its selection, pictures; and which picture of the grid is pointed at
  const hear = () => {
    const said = globalThis.maclScatter;
    if (said?.mark === data.mark) {
      said.notes.forEach((more, p) => head(p, more));
      if (said.pictures.length && said.open !== kept.open) // names alone until now
        Object.assign(kept, { open: said.open, pictures: new Map() });
      for (const one of said.pictures) kept.pictures.set(one.row, one);
      if (!kept.pictures.has(marked)) marked = -1; // the next move of the mouse asks
    }
    if (said?.version !== data.version) return;
    if (said.seq >= kept.seq) {
      kept.seq = said.seq;
      const bits = bytes(said.bits), next = new Uint8Array(n);
      for (let i = 0; i < n; i++) next[i] = (bits[i >> 3] >> (i & 7)) & 1;
      if (next.some((v, i) => v !== kept.selected[i])) { kept.selected = next; draw(); }
      dress();
    }
    if (marked >= 0 && kept.tipAt) tell(marked, ...kept.tipAt);
  };
  const point = (event) => { marked = event.detail; overAll(); };
  const redraw = () => draw();
  const watch = new ResizeObserver(redraw), dark = matchMedia("(prefers-color-scheme: dark)");
  watch.observe(root);
  globalThis.addEventListener("macl-scatter", hear);
  globalThis.addEventListener("macl-scatter-point", point);
  dark.addEventListener("change", redraw);
  kept.stop = () => {
    pause();
    watch.disconnect();
    cancelAnimationFrame(waiting);
    clearTimeout(timer);
    globalThis.removeEventListener("macl-scatter", hear);
    globalThis.removeEventListener("macl-scatter-point", point);
    dark.removeEventListener("change", redraw);
  };
  hear();
  dress();
  draw();
  return close;
}
