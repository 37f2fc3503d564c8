// Everything that moves in a report. Works on what the page already shows: without it the page has
// all figures, and the boxes at the chosen thresholds.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const WIDTH = 300, HEIGHT = 200; // of the plots, as in plots.py
const FOLD = matchMedia("(max-width: 640px)").matches ? 8 : 24; // pictures shown at first, of a gallery
const byId = (id) => document.getElementById(id);
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

const state = { chosen: true, step: Number(byId("threshold").value), category: "" };
const FIGURES = ["precision", "recall", "f1"];

// ---- Thresholds ---------------------------------------------------------------------------------

const selected = (detector) =>
  state.category === "" ? detector.classes : [detector.classes[Number(state.category)]];

function limitOf(detector, category) {
  if (!state.chosen) return detector.scores[state.step];
  const own = detector.classes[category].own;
  return own === null ? Infinity : own;
}

const total = (classes, value) => classes.reduce((sum, one) => sum + value(one), 0);

function ratios(detector, rightOf, wrongOf) {
  const classes = selected(detector);
  const [right, wrong] = [total(classes, rightOf), total(classes, wrongOf)];
  const positives = total(classes, (c) => c.positives);
  const share = (part, whole) => (whole > 0 ? part / whole : NaN);
  return {
    precision: share(right, right + wrong),
    recall: share(right, positives),
    f1: share(2 * right, right + wrong + positives),
  };
}

const at = (detector, step) => ratios(detector, (c) => c.right[step], (c) => c.wrong[step]);

const now = (detector) =>
  state.chosen ? ratios(detector, (c) => c.ownRight, (c) => c.ownWrong) : at(detector, state.step);

const written = (value) => (Number.isNaN(value) ? "–" : value.toFixed(3));

// ---- Plots --------------------------------------------------------------------------------------

function line(values) {
  const last = values.length - 1;
  const points = values
    .map((y, i) => [((i / last) * WIDTH).toFixed(1), y])
    .filter(([, y]) => !Number.isNaN(y))
    .map(([x, y]) => `${x},${((1 - y) * HEIGHT).toFixed(1)}`);
  return points.length ? `M${points.join("L")}` : "";
}

// Sets an attribute of an element that not every report has.
function put(id, name, value) {
  const element = byId(id);
  if (element) element.setAttribute(name, value);
}

function drawLines() {
  data.forEach((detector, d) => {
    const steps = detector.scores.map((_, step) => at(detector, step));
    for (const name of FIGURES) put(`line-${name}-${d}`, "d", line(steps.map((values) => values[name])));
    const known = selected(detector).filter((c) => c.positives > 0);
    const mean = known.length ? known[0].curve.map((_, i) => total(known, (c) => c.curve[i]) / known.length) : [];
    put(`line-curve-${d}`, "d", line(mean));
  });
  const select = byId("class");
  const whose = state.category === "" ? "mean of the classes" : select.options[select.selectedIndex].text;
  byId("curve-name").textContent = `precision by recall, ${whose}`;
}

// Where the limit is on the axis of thresholds, 0 to 1; null where each class has its own.
function place(detector) {
  const single = state.category !== "" || detector.classes.length === 1;
  if (state.chosen && !single) return null;
  const limit = limitOf(detector, Number(state.category));
  const [low, high] = [detector.scores[0], detector.scores[detector.scores.length - 1]];
  return Number.isFinite(limit) ? Math.min(Math.max((limit - low) / (high - low), 0), 1) : null;
}

function drawPoints() {
  data.forEach((detector, d) => {
    const values = now(detector);
    for (const name of FIGURES) byId(`${name}-${d}`).textContent = written(values[name]);
    // The curve of several classes is a mean, and no point of one threshold lies on it.
    const single = state.category !== "" || detector.classes.length === 1;
    const known = single && !Number.isNaN(values.precision) && !Number.isNaN(values.recall);
    put(`dot-${d}`, "visibility", known ? "visible" : "hidden");
    if (!known) return;
    put(`dot-${d}`, "cx", values.recall * WIDTH);
    put(`dot-${d}`, "cy", (1 - values.precision) * HEIGHT);
  });
  const x = data.length === 1 || !state.chosen ? place(data[0]) : null;
  put("marker", "visibility", x === null ? "hidden" : "visible");
  if (x !== null) for (const end of ["x1", "x2"]) put("marker", end, x * WIDTH);
  if (state.chosen && x !== null) byId("threshold").value = Math.round(x * (data[0].scores.length - 1));
  byId("chosen").setAttribute("aria-pressed", state.chosen);
  const none = state.chosen && state.category !== "";
  byId("score").textContent = x === null ? (none ? "none" : "by class") : limitOf(data[0], Number(state.category)).toFixed(2);
}

// ---- Pictures -----------------------------------------------------------------------------------

const scoreIn = (text) => (text === undefined ? -Infinity : Number(text));

const cards = all(".card").map((element, place) => ({
  element,
  place,
  name: element.dataset.name,
  boxes: all("g.boxes > path", element).map((path) => ({
    path,
    role: path.classList[0],
    letter: ["a", "b"].find((letter) => path.classList.contains(letter)) || "",
    category: Number(path.dataset.c),
    score: scoreIn(path.dataset.s),
    other: scoreIn(path.dataset.o), // of what the other detector has on the same box to find
  })),
  tally: all(".tally span", element),
  counts: new Map(), // of boxes that are shown, by kind
}));

function drawCard(card) {
  card.counts = new Map();
  for (const box of card.boxes) {
    const [own, other] = box.letter === "b" ? [data[1], data[0]] : data;
    const counted = box.score > limitOf(own, box.category);
    const alsoOther = other !== undefined && box.other > limitOf(other, box.category);
    const wanted = state.category === "" || box.category === Number(state.category);
    const shown = wanted && (box.role === "missed" ? !counted && !alsoOther : counted);
    box.path.classList.toggle("on", shown);
    const both = box.role === "right" && alsoOther;
    box.path.classList.toggle("both", both);
    const kind = both ? "both" : box.letter ? `${box.role}-${box.letter}` : box.role;
    card.counts.set(kind, (card.counts.get(kind) || 0) + shown);
  }
  for (const element of card.tally) element.textContent = card.counts.get(element.dataset.kind) || 0;
}

const errors = (card) =>
  Array.from(card.counts).reduce((sum, [kind, count]) => sum + (/^(wrong|missed)/.test(kind) ? count : 0), 0);
const orders = {
  given: (a, b) => a.place - b.place,
  now: (a, b) => errors(b) - errors(a) || a.place - b.place,
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
};

function arrange() {
  const compare = orders[byId("order").value];
  for (const gallery of all(".gallery")) {
    const own = cards.filter((card) => card.element.parentNode === gallery).sort(compare);
    gallery.append(...own.map((card) => card.element));
    fold(gallery);
  }
}

function fold(gallery) {
  const limit = Number(gallery.dataset.limit || FOLD);
  const elements = Array.from(gallery.children);
  elements.forEach((element, i) => element.classList.toggle("folded", i >= limit));
  let more = gallery.nextElementSibling;
  if (!more || !more.classList.contains("more")) {
    more = document.createElement("button");
    more.type = "button";
    more.className = "more";
    more.addEventListener("click", () => {
      gallery.dataset.limit = Number(gallery.dataset.limit || FOLD) + FOLD;
      fold(gallery);
    });
    gallery.after(more);
  }
  const left = elements.length - limit;
  more.hidden = left <= 0;
  more.textContent = `Show ${Math.min(FOLD, left)} more of ${left}`;
}

// ---- Everything at once -------------------------------------------------------------------------

function update() {
  drawPoints();
  cards.forEach(drawCard);
  if (byId("order").value === "now") arrange();
}

let waiting = false;
function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    update();
  });
}

byId("threshold").addEventListener("input", (event) => {
  state.chosen = false;
  state.step = Number(event.target.value);
  soon();
});
byId("chosen").addEventListener("click", () => {
  state.chosen = !state.chosen;
  state.step = Number(byId("threshold").value);
  update();
});
byId("class").addEventListener("change", (event) => {
  state.category = event.target.value;
  drawLines();
  update();
});
byId("order").addEventListener("change", arrange);
for (const box of all(".switches input")) {
  box.addEventListener("change", () => document.body.classList.toggle(`hide-${box.dataset.kind}`, !box.checked));
}

// ---- Tables -------------------------------------------------------------------------------------

function key(row, column) {
  const cell = row.cells[column];
  return column === 0 ? cell.textContent : Number(cell.dataset.order);
}

function sortBy(table, column) {
  const heads = Array.from(table.tHead.rows[0].cells);
  const head = heads[column];
  const first = column === 0 ? "ascending" : "descending"; // names from a, figures from the best
  const other = first === "ascending" ? "descending" : "ascending";
  const direction = head.getAttribute("aria-sort") === first ? other : first;
  heads.forEach((one) => one.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const rows = Array.from(table.tBodies[0].rows);
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  rows.sort((a, b) => sign * compare(key(a, column), key(b, column)));
  table.tBodies[0].append(...rows);
}

for (const table of all("table.sortable")) {
  all("thead button", table).forEach((button, column) => {
    button.addEventListener("click", () => sortBy(table, column));
  });
}

const filter = byId("filter");
if (filter) {
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    for (const row of all("#classes tbody tr")) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    }
  });
}

// ---- One picture, large -------------------------------------------------------------------------

const dialog = byId("large");
let open = null; // the card that is shown

function enlarge(card) {
  open = card;
  const copy = card.querySelector("svg").cloneNode(true);
  const boxes = copy.querySelector("g.boxes");
  boxes.id = "large-boxes";
  copy.querySelector("use").setAttribute("href", "#large-boxes");
  byId("large-name").textContent = card.dataset.name;
  byId("large-picture").replaceChildren(copy);
  if (!dialog.open) dialog.showModal();
}

function step(by) {
  const shown = all(".card:not(.folded)");
  enlarge(shown[(shown.indexOf(open) + by + shown.length) % shown.length]);
}

for (const card of all(".card")) {
  card.querySelector(".open").addEventListener("click", () => enlarge(card));
}
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

all(".gallery").forEach(fold);
drawLines();
update();
