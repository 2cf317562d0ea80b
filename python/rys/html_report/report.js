"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const nRows = (data.values.path || []).length;
const readout = document.getElementById("readout");

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// a tie, such as 0.0625, goes to the even digit as in all else that rys writes; toFixed has it go up
function fixed(value, digits) {
  const shown = value.toFixed(digits);
  const isTie = (value * 2 ** (digits + 1)) % 2 === 1;
  return isTie && Number(shown.at(-1)) % 2 === 1 ? (value - 10 ** -digits / 4).toFixed(digits) : shown;
}

function signed(value, digits) {
  const size = fixed(Math.abs(value), digits);
  return (Number(size) === 0 ? "" : value < 0 ? "−" : "+") + size;
}

const writers = {
  text: (value) => value,
  integer: (value) => value.toLocaleString("en"),
  signed_integer: (value) => signed(value, 0),
  signed: (value) => signed(value, 3),
  figure: (value) => (value > 0 && value < 0.001 ? "<0.001" : String(Number(value.toPrecision(2)))),
  percent: (value) => fixed(100 * value, 0) + "%",
  decimal: (value) => fixed(value, 1),
};

function written(kind, value) {
  return value === null || value === "" ? "–" : writers[kind](value);
}

/* ---- heatmaps: rows are starts i, columns are ends j ---- */

const rowOfBlock = new Map();
data.blocks.forEach((block, row) => block && rowOfBlock.set(block.join(), row));

function extent(values) {
  return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
}

function drawMap(map) {
  const blocks = data.blocks.filter(Boolean);
  const [top, bottom] = extent(blocks.map((block) => block[0]));
  const [left, right] = extent(blocks.map((block) => block[1]));
  const size = Math.max(9, Math.min(21, Math.floor(440 / (Math.max(bottom - top, right - left) + 1))));
  const margin = { left: 40, top: 34, rest: 10 };
  const x = (j) => margin.left + (j - left) * size;
  const y = (i) => margin.top + (i - top) * size;
  const width = x(right + 1) + margin.rest;
  const height = y(bottom + 1) + margin.rest;
  const svg = shape("svg", {
    width, height, viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "application", "aria-roledescription": "heatmap",
    "aria-label": `${map.title}: gains of blocks run twice. Arrow keys move between cells.`, "aria-describedby": "readout",
  });

  const step = [1, 2, 5, 10, 20, 50, 100].find((n) => n * size >= 24);
  const label = (text, attributes) => svg.append(Object.assign(shape("text", attributes), { textContent: text }));
  for (let j = left; j <= right; j++) if (j % step === 0) label(j, { x: x(j) + size / 2, y: margin.top - 6, "text-anchor": "middle" });
  for (let i = top; i <= bottom; i++) if (i % step === 0) label(i, { x: margin.left - 6, y: y(i) + size / 2 + 4, "text-anchor": "end" });
  label("start i ↓", { x: 0, y: 11 });
  label("end j →", { x: x(right + 1), y: 11, "text-anchor": "end" });

  const gap = size > 12 ? 1 : 0.5;
  let ground = "";
  const cells = shape("g", {});
  data.blocks.forEach((block, row) => {
    const value = map.effect[row];
    if (!block || value === null) return;
    ground += `M${x(block[1])} ${y(block[0])}h${size - gap}v${size - gap}h${gap - size}z`;
    const isSure = map.low[row] !== null && (map.low[row] > 0 || map.high[row] < 0);
    const inset = isSure ? 0 : (size - gap) * 0.24;
    cells.append(shape("rect", {
      x: x(block[1]) + inset, y: y(block[0]) + inset, width: size - gap - 2 * inset, height: size - gap - 2 * inset,
      class: (value < 0 ? "worse" : "better") + (isSure ? " sure" : ""), "data-row": row,
      "fill-opacity": Math.min(1, Math.abs(value) / map.limit).toFixed(3),
    }));
  });
  svg.append(shape("path", { class: "ground", d: ground }), cells);

  const radius = Math.max(6.5, size / 2 - 2);
  const mark = (row, name, attributes) => {
    if (row === null || !data.blocks[row]) return;
    const [i, j] = data.blocks[row];
    const at = `translate(${x(j) + (size - gap) / 2} ${y(i) + (size - gap) / 2})`;
    for (const halo of [" halo", ""]) {
      svg.append(shape(name, { ...attributes, class: attributes.class + halo, transform: at, "pointer-events": "none" }));
    }
  };
  const diamond = `M0-${radius} ${radius} 0 0 ${radius}-${radius} 0Z`;
  data.confirmed.forEach((row) => mark(row, "path", { class: "mark confirmed", d: diamond }));
  mark(map.best, "circle", { class: "mark best", r: radius });

  const cursor = shape("rect", { class: "cursor", width: size, height: size, visibility: "hidden", "pointer-events": "none" });
  svg.append(cursor);
  let current = null;
  const show = (row, isFromKey) => {
    if (row === current && !readout.hidden) return;
    current = row;
    const [i, j] = data.blocks[row];
    cursor.setAttribute("x", x(j) - gap / 2);
    cursor.setAttribute("y", y(i) - gap / 2);
    cursor.setAttribute("visibility", "visible");
    if (isFromKey) cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
    const box = svg.getBoundingClientRect();
    describe(map, row, box.left + x(j), box.top + y(i), size);
  };
  const hide = () => {
    readout.hidden = true;
    cursor.setAttribute("visibility", "hidden");
  };
  const rowAt = (i, j) => {
    const row = rowOfBlock.get([i, j].join());
    return row === undefined || map.effect[row] === null ? null : row;
  };
  const point = (event) => {
    const box = svg.getBoundingClientRect();
    const row = rowAt(
      top + Math.floor((event.clientY - box.top - margin.top) / size),
      left + Math.floor((event.clientX - box.left - margin.left) / size),
    );
    row === null ? hide() : show(row);
  };
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  svg.addEventListener("pointermove", (event) => event.pointerType === "mouse" && point(event));
  svg.addEventListener("click", point);
  svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  svg.addEventListener("blur", hide);
  svg.addEventListener("focus", () => svg.matches(":focus-visible") && show(current ?? first(map), true));
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    if (event.key === "Home") show(first(map), true);
    else if (event.key in moves) {
      const [down, across] = moves[event.key];
      let [i, j] = data.blocks[current ?? first(map)];
      do { i += down; j += across; } while (i >= top && i <= bottom && j >= left && j <= right && rowAt(i, j) === null);
      const row = rowAt(i, j);
      if (row !== null) show(row, true);
    } else return;
    event.preventDefault();
  });

  const figure = element("figure", null);
  const caption = element("figcaption", null);
  const scale = element("span", null, { class: "scale" });
  const known = map.effect.filter((value) => value !== null);
  const below = known.some((value) => value < -map.limit) ? "≤ " : "";
  const above = known.some((value) => value > map.limit) ? "≥ " : "";
  scale.append(below + signed(-map.limit, 3), element("i", null), above + signed(map.limit, 3));
  caption.append(element("h3", map.title), scale);
  const box = element("div", null, { class: "map" });
  box.append(svg);
  figure.append(caption, box);
  return figure;
}

function first(map) {
  const isDrawn = (row) => row !== null && data.blocks[row] && map.effect[row] !== null;
  return isDrawn(map.best) ? map.best : data.blocks.findIndex((_, row) => isDrawn(row));
}

function describe(map, row, x, y, size) {
  const [i, j] = data.blocks[row];
  const interval = map.low[row] === null ? "unknown" : `[${signed(map.low[row], 3)}, ${signed(map.high[row], 3)}]`;
  const facts = [["gain", written("signed", map.effect[row])], ["95% interval", interval], ["q", written("figure", map.q[row])]];
  for (const { key, label, kind } of data.columns) {
    const isPart = key.endsWith("_difference") && map === data.maps[0];
    if (isPart || ["extra_slots", "n_items", "status"].includes(key)) facts.push([label, written(kind, data.values[key][row])]);
  }
  const reason = data.values.reason && data.values.reason[row];
  const list = element("dl", null);
  for (const [name, value] of facts) list.append(element("dt", name), element("dd", value));
  const layers = j - i === 1 ? `layer ${i}` : `layers ${i} to ${j - 1}`;
  readout.replaceChildren(
    element("strong", data.values.path[row]),
    element("span", `${map.title}: block (${i}, ${j}), ${layers} twice`), list, ...(reason ? [element("span", reason)] : []),
  );
  readout.hidden = false;
  const { width, height } = readout.getBoundingClientRect();
  // to the left and below, where the triangle of blocks is empty
  const across = Math.max(8, Math.min(x - width - 8, document.documentElement.clientWidth - width - 8));
  const isRoomBelow = y + size + 8 + height <= window.innerHeight || y < height + 16;
  readout.style.left = `${across + window.scrollX}px`;
  readout.style.top = `${(isRoomBelow ? y + size + 8 : y - height - 8) + window.scrollY}px`;
}

if (data.blocks.some(Boolean)) {
  document.getElementById("maps").append(...data.maps.map(drawMap));
  for (const best of document.querySelectorAll("#maps .best.halo")) {
    const box = best.closest(".map");
    box.scrollLeft = best.getBoundingClientRect().left - box.getBoundingClientRect().left - box.clientWidth / 2;
  }
} else {
  document.getElementById("maps").append(element("p", "No candidate is a single block run twice."));
}

/* ---- candidates ---- */

const START = 200; // rows that are drawn at first
const table = document.getElementById("candidates");
const filter = document.getElementById("filter");
const all = document.getElementById("all");
let order = Array.from({ length: nRows }, (_, row) => row);
let nShown = START;

function sortBy(column, head) {
  const isDown = head.getAttribute("aria-sort") === "descending" || (head.getAttribute("aria-sort") === "none" && column.kind === "text");
  const direction = isDown ? 1 : -1;
  const values = data.values[column.key];
  const isNothing = (value) => value === null || value === "";
  const compare = column.kind === "text" ? (a, b) => a.localeCompare(b, "en", { numeric: true }) : (a, b) => a - b;
  order.sort((a, b) => {
    const [first, second] = [values[a], values[b]];
    if (isNothing(first) || isNothing(second)) return isNothing(first) - isNothing(second) || a - b; // always last
    return direction * compare(first, second) || a - b;
  });
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", isDown ? "ascending" : "descending");
  drawRows();
}

const classOf = ({ key, kind }) => (kind !== "text" ? "figure" : key === "reason" ? "why" : "");

function drawRows() {
  const words = filter.value.toLowerCase().split(/\s+/);
  const { path, status, reason } = data.values;
  const texts = (row) => `${path[row]} ${status[row]} ${reason ? reason[row] : ""} ${(data.blocks[row] || []).join()}`.toLowerCase();
  const found = filter.value.trim() ? order.filter((row) => words.every((word) => texts(row).includes(word))) : order;
  const rows = found.slice(0, nShown).map((row) => {
    const line = element("tr", null, { "data-row": row });
    for (const { key, kind } of data.columns) {
      const value = data.values[key][row];
      const cell = element(key === "path" ? "th" : "td", written(kind, value), key === "path" ? { scope: "row" } : {});
      cell.className = classOf({ key, kind });
      if (value && (key === "effect" || key.endsWith("_difference"))) cell.classList.add(value < 0 ? "worse" : "better");
      line.append(cell);
    }
    return line;
  });
  table.tBodies[0].replaceChildren(...rows);
  const count = (n) => n.toLocaleString("en");
  document.getElementById("shown").textContent = `${count(rows.length)} of ${count(found.length)} shown`;
  all.hidden = rows.length === found.length;
  all.textContent = `Show all ${count(found.length)}`;
}

const headings = element("tr", null);
for (const column of data.columns) {
  const head = element("th", null, { scope: "col", "aria-sort": "none" });
  head.className = classOf(column);
  const button = element("button", column.label, { type: "button" });
  button.addEventListener("click", () => sortBy(column, head));
  head.append(button);
  headings.append(head);
}
table.tHead.append(headings);
filter.addEventListener("input", drawRows);
all.addEventListener("click", () => {
  nShown = Infinity;
  drawRows();
});
if (nRows) drawRows();
