(() => {
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 176, HEIGHT = 40, MARGIN = 12;
const MOST = 600; // boxes at a time, so that a layout takes less than a second or two
const LEAST_ON_PAPER = 0.3; // the scale from which texts can be read
const { layers, edges, blocks, colours } = JSON.parse(document.getElementById("data").textContent).network;
const card = document.getElementById("network-card");
const view = document.getElementById("network-view");
const told = document.getElementById("network-told");
const shown = document.getElementById("network-shown");
const legend = document.getElementById("network-legend");
const select = document.getElementById("network-colour");
const search = document.getElementById("network-search");
const fold = document.getElementById("network-fold");
const counted = shown.textContent;

const blockOf = new Map();
blocks.forEach(([, members], number) => members.forEach((layer) => blockOf.set(layer, number)));
const opened = new Set();
let boxes = new Map(); // of what is drawn, by key: its place, its element and its layers
let canvas = null, size = { width: 1, height: 1 }, at = { k: 1, x: 0, y: 0 };
let chosen = null, colour = colours[0] ?? null, laidOut = false;

function add(parent, tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}
function put(parent, tag, text, style) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (style) element.className = style;
  parent.append(element);
  return element;
}
const start = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const end = (text, most) => (text.length > most ? `…${text.slice(1 - most)}` : text);
const written = (value, unit) =>
  value === null ? "–" : typeof value === "number" ? `${Number(value.toPrecision(3))}${unit ? ` ${unit}` : ""}` : value;

// A block tells its worst layer, its whole time, or the precisions in it.
function valueOf(box, by) {
  const values = box.layers.map((layer) => by.values[layer]).filter((value) => value !== null);
  if (!values.length) return null;
  if (values.length === 1) return values[0];
  const numbers = values.filter((value) => typeof value === "number");
  if (by.kind === "class") return new Set(values).size === 1 ? values[0] : "mixed";
  if (by.kind === "high") return numbers.reduce((sum, value) => sum + value, 0);
  return values.find((value) => typeof value === "string" && value !== "∞") ?? (numbers.length ? Math.min(...numbers) : values[0]);
}
const kindOf = (word) =>
  ({ INT8: "k-int8", FP16: "k-fp16", FP32: "k-fp32", "floating point": "k-float" })[word] ?? "k-other";

function colourAll() {
  legend.replaceChildren();
  if (!colour) return;
  put(legend, "span", colour.title, "legend-title"); // on paper, where the choice is not shown
  const values = new Map([...boxes].map(([key, box]) => [key, valueOf(box, colour)]));
  const numbers = [...values.values()].filter((value) => typeof value === "number");
  const least = colour.kind === "high" ? 0 : Math.min(...numbers), most = Math.max(...numbers);
  const unknown = [...values.values()].includes(null);
  for (const [key, box] of boxes) {
    const value = values.get(key);
    let heat = 0;
    if (colour.kind === "class") heat = value === null ? 0 : 45;
    else if (typeof value === "number" && most > least) {
      heat = 50 * (colour.kind === "high" ? value / most : (most - value) / (most - least));
    } else if (typeof value === "string" && value !== "∞") heat = 50;
    box.element.classList.remove("k-int8", "k-fp16", "k-fp32", "k-float", "k-other");
    if (colour.kind === "class" && value !== null) box.element.classList.add(kindOf(value));
    box.element.style.setProperty("--heat", `${heat.toFixed(1)}%`);
    box.figure.textContent = value === null ? "" : start(written(value, colour.unit), 14);
    const name = box.block === null ? `${layers[box.layers[0]][1]} ${layers[box.layers[0]][0]}` : `Block ${box.name}, ${box.layers.length} layers`;
    box.element.setAttribute("aria-label", `${name}; ${colour.title}: ${value === null ? "unknown" : written(value, colour.unit)}`);
  }
  if (colour.kind === "class") {
    for (const word of [...new Set(values.values())].filter((value) => value !== null).sort()) {
      const item = put(legend, "span");
      put(item, "i", "", kindOf(word));
      item.append(word);
    }
  } else if (numbers.length) {
    const [first, last] = colour.kind === "high" ? [least, most] : [most, least];
    const item = put(legend, "span", written(first, colour.unit));
    put(item, "i", "", "ramp");
    item.append(written(last, colour.unit));
  }
  if (unknown) put(legend, "span", colour.kind === "class" ? "not coloured: not told" : "without a figure: not measured");
}

// What is drawn now: layers, or blocks that are closed.
function keyOf(layer) {
  const block = blockOf.get(layer);
  return block === undefined || opened.has(block) || blocks[block][1].length === 1 ? `l${layer}` : `b${block}`;
}

function layOut() {
  const drawn = new Map();
  layers.forEach(([name, kind], layer) => {
    const key = keyOf(layer);
    if (!drawn.has(key)) {
      const block = key[0] === "b" ? blockOf.get(layer) : null;
      drawn.set(key, { key, block, name: block === null ? name : blocks[block][0], kind, layers: [], next: [], before: [] });
    }
    drawn.get(key).layers.push(layer);
  });
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ ranksep: 22, nodesep: 14, edgesep: 8, marginx: MARGIN, marginy: MARGIN, ranker: drawn.size > 120 ? "longest-path" : "network-simplex" });
  for (const key of drawn.keys()) graph.setNode(key, { width: WIDTH, height: HEIGHT });
  for (const [from, to] of edges) {
    const [a, b] = [keyOf(from), keyOf(to)];
    if (a === b || graph.hasEdge(a, b)) continue;
    graph.setEdge(a, b, {});
    drawn.get(a).next.push(b);
    drawn.get(b).before.push(a);
  }
  dagre.layout(graph);
  size = { width: graph.graph().width, height: graph.graph().height };
  boxes = drawn;
  paint(graph);
  fold.hidden = !opened.size;
  laidOut = true;
  document.documentElement.dataset.network = boxes.size;
}

function paint(graph) {
  view.replaceChildren();
  canvas = add(view, "g", {});
  for (const { v, w } of graph.edges()) {
    const points = graph.edge({ v, w }).points;
    const last = points[points.length - 1];
    const path = add(canvas, "path", { class: "edge", d: `M${points.map((p) => `${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join("L")}` });
    path.dataset.ends = `${v} ${w}`;
    add(canvas, "path", { class: "head", d: `M${last.x.toFixed(1)} ${last.y.toFixed(1)}l-3.5 -6h7z` });
  }
  for (const box of boxes.values()) {
    const { x, y } = graph.node(box.key);
    Object.assign(box, { x, y });
    const group = add(canvas, "g", { class: box.block === null ? "layer" : "layer block", role: "button", tabindex: "-1" });
    group.setAttribute("transform", `translate(${(x - WIDTH / 2).toFixed(1)} ${(y - HEIGHT / 2).toFixed(1)})`);
    group.dataset.key = box.key;
    add(group, "title", {}, box.name); // in whole, under the pointer
    add(group, "rect", { width: WIDTH, height: HEIGHT, rx: 6 });
    add(group, "text", { class: "kind", x: 9, y: 16, "aria-hidden": "true" }, start(box.block === null ? box.kind : `${box.layers.length} layers`, 15));
    box.figure = add(group, "text", { class: "figure", x: WIDTH - 9, y: 16, "aria-hidden": "true" }, "");
    add(group, "text", { class: "own-name", x: 9, y: 31, "aria-hidden": "true" }, end(box.name, 28));
    box.element = group;
    group.setAttribute("aria-label", `${box.kind} ${box.name}`);
  }
  boxes.values().next().value?.element.setAttribute("tabindex", "0");
  colourAll();
  find();
}

function move(k, x, y) {
  at = { k: Math.min(4, Math.max(0.02, k)), x, y };
  canvas?.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${at.k.toFixed(4)})`);
}
function zoom(factor, x = view.clientWidth / 2, y = view.clientHeight / 2) {
  const k = Math.min(4, Math.max(0.02, at.k * factor));
  move(k, x - (x - at.x) * k / at.k, y - (y - at.y) * k / at.k);
}
function fit(all) {
  const { clientWidth: w, clientHeight: h } = view;
  const k = Math.min(all ? 2 : 1.1, w / size.width, all ? h / size.height : Infinity);
  move(k, (w - k * size.width) / 2, all ? (h - k * size.height) / 2 : 0);
}
function reveal(box) {
  const [x, y] = [at.x + at.k * box.x, at.y + at.k * box.y];
  const [w, h] = [at.k * WIDTH / 2, at.k * HEIGHT / 2];
  const inside = x > w && x < view.clientWidth - w && y > h && y < view.clientHeight - h;
  const k = Math.max(at.k, 0.5);
  if (!inside || k !== at.k) move(k, view.clientWidth / 2 - k * box.x, view.clientHeight / 2 - k * box.y);
}
function go(box) {
  if (!box) return;
  for (const other of view.querySelectorAll('[tabindex="0"]')) other.setAttribute("tabindex", "-1");
  box.element.setAttribute("tabindex", "0");
  reveal(box);
  box.element.focus({ preventScroll: true });
}

function choose(box) {
  chosen = box.key;
  for (const other of boxes.values()) other.element.classList.toggle("chosen", other === box);
  for (const edge of view.querySelectorAll(".edge")) {
    edge.classList.toggle("near", edge.dataset.ends.split(" ").includes(box.key));
  }
  const [name, kind, shape, entry] = layers[box.layers[0]];
  told.replaceChildren();
  put(told, "h3", box.block === null ? kind : `${box.layers.length} layers`);
  put(told, "p", box.block === null ? name : box.name, "name");
  const tensor = box.block !== null || entry < 0 ? null : document.getElementById(`t${entry}`);
  if (tensor?.querySelector("[data-chart]")) {
    const place = put(told, "div", undefined, "chart");
    place.dataset.chart = entry;
    quantkit.draw(place, tensor.querySelector(".title .name").textContent);
  }
  const figures = put(told, "dl");
  if (box.block === null && shape) {
    put(figures, "dt", "Output");
    put(figures, "dd", shape);
  }
  for (const by of colours) {
    const value = valueOf(box, by);
    if (value === null) continue;
    put(figures, "dt", by.title);
    put(figures, "dd", written(value, by.unit));
  }
  if (box.block !== null) {
    const open = put(told, "button", "Open the block");
    open.type = "button";
    open.addEventListener("click", () => toggle(box.block));
    return;
  }
  if (!tensor) {
    put(told, "p", "It has no range of its own in the calibration.", "meta");
    return;
  }
  const link = put(told, "a", "Its place in the list, with the range of each method");
  link.href = `#t${entry}`;
}

function toggle(block) {
  const size = boxes.size + blocks[block][1].length;
  if (size > MOST) {
    shown.textContent = `Close other blocks first: ${size} boxes are too many at a time`;
    return;
  }
  opened.add(block);
  layOut();
  move(at.k, at.x, at.y);
  go(boxes.get(`l${blocks[block][1][0]}`));
}

function find() {
  const wanted = search.value.trim().toLowerCase();
  const matches = (layer) => `${layers[layer][0]} ${layers[layer][1]}`.toLowerCase().includes(wanted);
  const found = wanted ? [...boxes.values()].filter((box) => box.layers.some(matches)) : [];
  view.classList.toggle("finding", Boolean(wanted));
  for (const box of boxes.values()) box.element.classList.toggle("found", found.includes(box));
  const all = wanted ? layers.filter((_, layer) => matches(layer)).length : 0;
  shown.textContent = wanted ? `${all} of ${counted}` : counted;
  return found;
}

const boxOf = (event) => boxes.get(event.target.closest?.(".layer")?.dataset.key);
const nearest = (box, side) => [...boxes.values()]
  .filter((other) => Math.abs(other.y - box.y) < HEIGHT && (other.x - box.x) * side > 1)
  .sort((a, b) => (a.x - b.x) * side)[0];
view.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const box = boxOf(event);
  const all = [...boxes.values()];
  const action = {
    ArrowDown: () => go(boxes.get(box.next[0])), ArrowUp: () => go(boxes.get(box.before[0])),
    ArrowLeft: () => go(nearest(box, -1)), ArrowRight: () => go(nearest(box, 1)),
    Home: () => go(all[0]), End: () => go(all[all.length - 1]),
    "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(0.7), 0: () => fit(true),
    Enter: () => press(box), " ": () => press(box),
  }[event.key];
  if (!action || !box) return;
  event.preventDefault();
  action();
});
function press(box) {
  if (box.block !== null && chosen === box.key) toggle(box.block);
  else choose(box);
}

// One finger or the pointer moves, two fingers zoom; a click is what did not move.
const fingers = new Map();
let moved = false;
view.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  if (!fingers.size) moved = false;
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
});
view.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const [dx, dy] = [event.clientX - before.x, event.clientY - before.y];
  if (!moved && Math.hypot(dx, dy) < 4) return;
  if (!moved) view.setPointerCapture(event.pointerId);
  moved = true;
  const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
  const now = { x: event.clientX, y: event.clientY };
  if (other) {
    const edge = view.getBoundingClientRect();
    const apart = (a) => Math.max(1, Math.hypot(a.x - other.x, a.y - other.y));
    zoom(apart(now) / apart(before), (now.x + other.x) / 2 - edge.x, (now.y + other.y) / 2 - edge.y);
  } else move(at.k, at.x + dx, at.y + dy);
  fingers.set(event.pointerId, now);
});
for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, (event) => fingers.delete(event.pointerId));
addEventListener("pointerup", (event) => fingers.delete(event.pointerId));
view.addEventListener("click", (event) => {
  const box = boxOf(event);
  if (moved || !box) return;
  go(box);
  press(box);
});
// The wheel scrolls the page until the network has the focus.
view.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !view.contains(document.activeElement)) return;
  event.preventDefault();
  const edge = view.getBoundingClientRect();
  zoom(Math.exp(-Math.max(-100, Math.min(100, event.deltaY)) * 0.003), event.clientX - edge.x, event.clientY - edge.y);
}, { passive: false });
for (const button of card.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => (button.dataset.zoom === "all" ? fit(true) : zoom(Number(button.dataset.zoom))));
}
fold.addEventListener("click", () => { opened.clear(); layOut(); fit(false); });
select?.addEventListener("change", () => { colour = colours[select.value]; colourAll(); });
search.addEventListener("input", () => { const found = find(); if (found.length) reveal(found[0]); });
search.addEventListener("keydown", (event) => { if (event.key === "Enter") go(find()[0]); });

function begin() {
  if (laidOut) return;
  try {
    layOut();
    fit(false);
  } catch (error) {
    card.hidden = true;
    shown.textContent = `${counted}; they cannot be laid out`;
  }
}
addEventListener("beforeprint", () => {
  begin();
  const tall = Math.min(680 / size.width, 780 / size.height) < LEAST_ON_PAPER;
  card.parentElement.classList.toggle("tall", tall);
  if (!tall) view.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  if (!tall) canvas?.removeAttribute("transform");
});
addEventListener("afterprint", () => { view.removeAttribute("viewBox"); move(at.k, at.x, at.y); });

card.hidden = false;
search.closest("label").hidden = false;
new IntersectionObserver((seen, observer) => {
  if (!seen.some((one) => one.isIntersecting)) return;
  observer.disconnect();
  setTimeout(begin);
}, { rootMargin: "200px" }).observe(card);
})();
