(() => {
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const charts = JSON.parse(document.getElementById("data").textContent).charts;

function add(parent, tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

const short = (value) => String(Number(value.toPrecision(4)));
const small = (value) => String(Number(value.toPrecision(3)));

// Round steps (1, 2 or 5 times a power of ten) that cut `top` into about `wanted` parts.
function ticks(top, wanted) {
  const raw = top / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  return Array.from({ length: Math.floor(top / step * 1.0001) + 1 }, (_, i) => i * step);
}

function powerLabel(exponent) {
  if (exponent < 4) return String(10 ** exponent);
  return "10" + String(exponent).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
}

// Bars of log-counts of |x|, and a vertical line at each method's amax.
function draw(place, title) {
  const { width, counts, lines } = charts[place.dataset.chart];
  const W = Math.max(300, place.clientWidth), H = 250;
  const left = 42, right = W - 14, top = 28, bottom = H - 38;
  const reach = width * counts.length;
  // A range far beyond the data would squeeze the bars, so such a line stands at the edge, marked with an arrow.
  const span = Math.min(Math.max(reach, ...lines.map((line) => line[2])), 2 * reach) * 1.02;
  const x = (value) => left + (right - left) * Math.min(value / span, 1);
  const most = Math.log10(1 + Math.max(...counts));
  const y = (count) => bottom - (bottom - top) * Math.log10(1 + count) / most;
  const chosen = lines.find((line) => line[3]);

  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Histogram of |x| of ${title}, on a logarithmic scale` +
    lines.map((line) => `; ${line[1]} amax ${short(line[2])}`).join(""));

  const exponents = Array.from({ length: Math.floor(most) + 1 }, (_, i) => i);
  const skip = Math.ceil(exponents.length / 6);
  for (const exponent of exponents.filter((_, i) => i % skip === 0)) {
    const at = y(10 ** exponent);
    add(svg, "path", { class: "rule", d: `M${left} ${at}H${right}` });
    add(svg, "text", { x: left - 6, y: at + 4, "text-anchor": "end" }, powerLabel(exponent));
  }
  if (chosen && chosen[2] < reach) {
    add(svg, "rect", { class: "cut", x: x(chosen[2]), y: top, width: x(reach) - x(chosen[2]), height: bottom - top });
  }
  counts.forEach((count, i) => {
    if (!count) return;
    const from = x(i * width), to = x((i + 1) * width);
    const bar = add(svg, "rect", {
      class: "bar", x: from, y: y(count), width: Math.max(to - from - 0.6, 0.8), height: bottom - y(count),
    });
    add(bar, "title", {}, `${small(i * width)} to ${small((i + 1) * width)}: ${count.toLocaleString("en")} values`);
  });
  add(svg, "path", { class: "rule", d: `M${left} ${bottom}H${right}` });
  for (const value of ticks(span, W < 500 ? 4 : 8)) {
    add(svg, "text", { x: x(value), y: bottom + 16, "text-anchor": "middle" }, small(value));
  }
  add(svg, "text", { x: right, y: H - 4, "text-anchor": "end" }, "|x|, count on a logarithmic scale");

  for (const [style, , amax, isChosen] of [...lines].sort((a, b) => a[3] - b[3])) {
    add(svg, "path", { class: `line m${style}${isChosen ? " chosen" : ""}`, d: `M${x(amax)} ${top - 6}V${bottom}` });
  }
  if (chosen) {
    const at = x(chosen[2]), middle = (left + right) / 2;
    const text = `${chosen[1]} ${short(chosen[2])}${chosen[2] > span ? " →" : ""}`;
    add(svg, "text", { class: "chosen-label", x: at, y: top - 12, "text-anchor": at > middle ? "end" : "start" }, text);
  }
  place.replaceChildren(svg);
}

globalThis.quantkit = { draw }; // for graph.js

function drawIn(tensor) {
  const place = tensor.querySelector("[data-chart]");
  if (!place || !tensor.open) return;
  draw(place, tensor.querySelector(".title .name").textContent);
  document.documentElement.dataset.drawn = document.querySelectorAll(".chart svg").length;
}

const tensors = [...document.querySelectorAll(".tensor")];
for (const tensor of tensors) tensor.addEventListener("toggle", () => drawIn(tensor));

let pending = 0;
addEventListener("resize", () => {
  clearTimeout(pending);
  pending = setTimeout(() => tensors.forEach(drawIn), 150);
});

// report.html#t12 opens that tensor.
function openLinked() {
  const tensor = tensors.find((candidate) => `#${candidate.id}` === location.hash);
  if (!tensor) return;
  const more = tensor.closest(".more");
  if (more) more.open = true;
  tensor.open = true;
  tensor.scrollIntoView();
  drawIn(tensor);
}
addEventListener("hashchange", openLinked);
openLinked();

const search = document.getElementById("search");
if (search) {
  const shown = document.getElementById("shown");
  const all = shown.textContent;
  search.closest("label").hidden = false;
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    let count = 0;
    const more = document.querySelector(".more");
    if (more && wanted) more.open = true;
    for (const tensor of tensors) {
      tensor.hidden = !tensor.querySelector(".title .name").textContent.toLowerCase().includes(wanted);
      count += !tensor.hidden;
    }
    shown.textContent = wanted ? `${count} of ${all}` : all;
  });
}

// What a word or a heading means, under the pointer or with the focus; Escape puts it away.
const tip = document.getElementById("tip");
const meanings = new Map();
let leaving = 0;
function showTip(element) {
  clearTimeout(leaving);
  tip.textContent = meanings.get(element);
  tip.hidden = false;
  const at = element.getBoundingClientRect();
  const most = document.documentElement.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${scrollX + Math.max(8, Math.min(at.left, most))}px`;
  const above = at.bottom + tip.offsetHeight + 8 > innerHeight;
  tip.style.top = `${scrollY + (above ? at.top - tip.offsetHeight - 6 : at.bottom + 6)}px`;
}
function hideTip() { tip.hidden = true; }
function hideSoon() { leaving = setTimeout(hideTip, 150); }
function explain(element, meaning) {
  meanings.set(element, meaning);
  if (!element.hasAttribute("aria-describedby")) {
    const own = document.createElement("span"); // for screen readers; it is never shown
    own.id = `meaning-${meanings.size}`;
    own.hidden = true;
    own.textContent = meaning;
    tip.after(own);
    element.setAttribute("aria-describedby", own.id);
  }
  element.addEventListener("pointerenter", () => showTip(element));
  element.addEventListener("pointerleave", hideSoon);
  element.addEventListener("focus", () => showTip(element));
  element.addEventListener("blur", hideTip);
}
tip.addEventListener("pointerenter", () => clearTimeout(leaving));
tip.addEventListener("pointerleave", hideTip);
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
for (const word of document.querySelectorAll(".term")) {
  explain(word, document.querySelector(word.hash).textContent);
  word.addEventListener("click", (event) => { event.preventDefault(); showTip(word); });
}

// Each row is a tbody of its own, so that its notes move with it. Cells without a figure come last either way.
function sortBy(table, heading, index) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  const numeric = heading.classList.contains("number");
  const key = (body) => body.rows[0].cells[index].dataset.key;
  const compare = (a, b) => (numeric ? a - b : a.localeCompare(b, "en"));
  const sorted = [...table.tBodies].sort((a, b) => {
    const [p, q] = [key(a), key(b)];
    if (p === "" || q === "") return (p === "") - (q === "");
    return descending ? compare(q, p) : compare(p, q);
  });
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.append(...sorted);
}

for (const table of document.querySelectorAll("[data-sortable]")) {
  [...table.tHead.rows[0].cells].forEach((heading, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, heading, index));
    heading.append(button);
    if (heading.title) explain(button, heading.title);
    heading.removeAttribute("title");
  });
}

// The figures of the point under the pointer, or else of the one with the focus, and of those that it covers.
for (const readout of document.querySelectorAll(".readout")) {
  const picture = readout.parentElement;
  const told = new Map();
  for (const point of picture.querySelectorAll(".point")) {
    const title = point.querySelector("title");
    told.set(point, title.textContent.split("\n"));
    title.remove(); // the browser would show it, too
  }
  const centre = (point) => {
    const box = point.querySelector(".hit").getBoundingClientRect();
    return { x: box.x + box.width / 2, y: box.y + box.height / 2, radius: box.height / 2 };
  };
  const show = (point) => {
    readout.hidden = !point;
    if (!point) return;
    const { x, y, radius } = centre(point);
    const near = [...point.ownerSVGElement.querySelectorAll(".point")].filter((other) => {
      const at = centre(other);
      return other !== point && Math.hypot(at.x - x, at.y - y) < radius;
    });
    readout.replaceChildren(...[point, ...near].flatMap((one) => told.get(one).map((text, i) => {
      const line = document.createElement("p");
      line.textContent = text;
      line.classList.toggle("of", i === 0);
      return line;
    })));
    const card = picture.getBoundingClientRect();
    const left = x - card.x - readout.offsetWidth / 2;
    readout.style.left = `${Math.max(8, Math.min(left, card.width - readout.offsetWidth - 8))}px`;
    const low = y - card.y > card.height / 2;
    readout.style.top = `${y - card.y + (low ? -radius - readout.offsetHeight : radius)}px`;
  };
  const focused = () => picture.querySelector(".point:focus");
  picture.addEventListener("pointerover", (event) => {
    if (!readout.contains(event.target)) show(event.target.closest(".point") ?? focused());
  });
  picture.addEventListener("pointerleave", () => show(focused()));
  picture.addEventListener("focusin", (event) => show(event.target.closest(".point")));
  picture.addEventListener("focusout", () => show(null));
  addEventListener("keydown", (event) => { if (event.key === "Escape") show(null); });
  addEventListener("resize", () => show(null));
}

// Where there is no clipboard, as in some browsers for pages from a file, a selected field is copied; where that fails,
// the path is selected, to be copied by hand.
async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    return "Copied";
  } catch {
    const field = document.createElement("textarea");
    field.value = button.dataset.copy;
    field.className = "hidden";
    document.body.append(field);
    field.select();
    let copied = false;
    try { copied = document.execCommand("copy"); } catch { /* it is not allowed */ }
    field.remove();
    button.focus();
    if (copied) return "Copied";
    getSelection().selectAllChildren(button.previousElementSibling);
    return "Selected";
  }
}
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const done = await copy(button);
    button.textContent = done;
    document.getElementById("told").textContent = `${done}: ${button.dataset.copy}`;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

document.documentElement.dataset.ready = "";
})();
