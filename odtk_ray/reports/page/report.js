// Everything that moves in a report. Works on what the page already shows: without it the page has
// all figures, and the boxes at the chosen thresholds.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const WIDTH = 300, HEIGHT = 200; // of the plots, as in plots.py
const FOLD = 24; // pictures of a gallery that are shown at first
const byId = (id) => document.getElementById(id);
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

const state = { chosen: true, step: Number(byId("threshold").value), category: "" };

// ---- Thresholds ---------------------------------------------------------------------------------

const selected = () =>
  state.category === "" ? data.classes : [data.classes[Number(state.category)]];

function limitOf(category) {
  if (!state.chosen) return data.scores[state.step];
  const own = data.classes[category].own;
  return own === null ? Infinity : own;
}

function ratios(right, wrong, positives) {
  const share = (part, whole) => (whole > 0 ? part / whole : NaN);
  return {
    precision: share(right, right + wrong),
    recall: share(right, positives),
    f1: share(2 * right, right + wrong + positives),
  };
}

const total = (classes, value) => classes.reduce((sum, one) => sum + value(one), 0);

function at(step) {
  const classes = selected();
  return ratios(
    total(classes, (c) => c.right[step]),
    total(classes, (c) => c.wrong[step]),
    total(classes, (c) => c.positives),
  );
}

function now() {
  if (!state.chosen) return at(state.step);
  const classes = selected();
  return ratios(
    total(classes, (c) => c.ownRight),
    total(classes, (c) => c.ownWrong),
    total(classes, (c) => c.positives),
  );
}

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

function drawLines() {
  const steps = data.scores.map((_, step) => at(step));
  for (const name of ["precision", "recall", "f1"]) {
    byId(`line-${name}`).setAttribute("d", line(steps.map((values) => values[name])));
  }
  const known = selected().filter((c) => c.positives > 0);
  const mean = known.length ? known[0].curve.map((_, i) => total(known, (c) => c.curve[i]) / known.length) : [];
  byId("line-curve").setAttribute("d", line(mean));
  const select = byId("class");
  byId("curve-name").textContent =
    state.category === "" ? "mean of the classes" : select.options[select.selectedIndex].text;
}

// ---- Pictures -----------------------------------------------------------------------------------

const cards = all(".card").map((element, place) => ({
  element,
  place,
  name: element.dataset.name,
  boxes: all("g.boxes > path", element).map((path) => ({
    path,
    kind: path.classList[0],
    category: Number(path.dataset.c),
    score: path.dataset.s === undefined ? -Infinity : Number(path.dataset.s),
  })),
  tally: Object.fromEntries(["right", "wrong", "missed"].map((k) => [k, element.querySelector(`.tally .${k}`)])),
  counts: { right: 0, wrong: 0, missed: 0 },
}));

function drawCard(card) {
  const counts = { right: 0, wrong: 0, missed: 0 };
  for (const box of card.boxes) {
    const counted = box.score > limitOf(box.category);
    const wanted = state.category === "" || box.category === Number(state.category);
    const shown = wanted && counted !== (box.kind === "missed");
    box.path.classList.toggle("on", shown);
    counts[box.kind] += shown;
  }
  card.counts = counts;
  for (const [kind, element] of Object.entries(card.tally)) element.textContent = counts[kind];
}

const errors = (card) => card.counts.wrong + card.counts.missed;
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
  const values = now();
  for (const name of ["precision", "recall", "f1"]) byId(name).textContent = written(values[name]);
  byId("own").setAttribute("aria-pressed", state.chosen);
  const category = state.category === "" && data.classes.length > 1 ? null : Number(state.category);
  const limit = state.chosen && category === null ? null : limitOf(category || 0);
  byId("score").textContent = limit === null ? "own" : Number.isFinite(limit) ? limit.toFixed(2) : "none";
  const [low, high] = [data.scores[0], data.scores[data.scores.length - 1]];
  const marker = byId("marker");
  const hidden = limit === null || !Number.isFinite(limit);
  marker.setAttribute("visibility", hidden ? "hidden" : "visible");
  if (!hidden) {
    const x = ((Math.min(Math.max(limit, low), high) - low) / (high - low)) * WIDTH;
    marker.setAttribute("x1", x);
    marker.setAttribute("x2", x);
    if (state.chosen) byId("threshold").value = Math.round((x / WIDTH) * (data.scores.length - 1));
  }
  const dot = byId("dot");
  const known = !Number.isNaN(values.precision) && !Number.isNaN(values.recall);
  dot.setAttribute("visibility", known ? "visible" : "hidden");
  if (known) {
    dot.setAttribute("cx", values.recall * WIDTH);
    dot.setAttribute("cy", (1 - values.precision) * HEIGHT);
  }
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
byId("own").addEventListener("click", () => {
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
