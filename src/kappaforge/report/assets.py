"""The style sheet and the script of the offline page."""

STYLE = """
:root {
  color-scheme: light dark;
  --text: #1c1e21; --quiet: #5c636b; --ground: #ffffff; --raised: #f4f5f7; --line: #d9dce0; --accent: #0b5c8a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e4e6e9; --quiet: #9aa2ab; --ground: #16181b; --raised: #202327; --line: #363b41; --accent: #7cc0ea;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem clamp(1rem, 3vw, 2.5rem) 4rem; max-width: 90rem;
  font: 1rem/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground);
}
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.25rem; }
a { color: var(--accent); }
.lead { max-width: 65rem; font-size: 1.1rem; }
.quiet { color: var(--quiet); }
nav a { margin-right: 1.25rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
tbody th, td { vertical-align: top; }
thead th { position: sticky; top: 0; z-index: 1; background: var(--raised); }
.number { text-align: right; }
.scroll { overflow: auto; max-height: 34rem; border: 1px solid var(--line); border-radius: .4rem; }
.scroll table { width: 100%; }
#ranking tbody tr:hover, #ranking tbody tr.shown { background: var(--raised); }
#ranking .wide { white-space: normal; min-width: 22rem; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; text-align: inherit; }
th button { font-weight: 600; }
thead th button::after { content: " ↕"; color: var(--quiet); font-weight: 400; }
th[aria-sort="ascending"] button::after { content: " ↑"; color: inherit; }
th[aria-sort="descending"] button::after { content: " ↓"; color: inherit; }
tbody button { color: var(--accent); text-decoration: underline; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.explorer {
  display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; padding: .5rem; color: #1c1e21; background: #ffffff;
  border: 1px solid var(--line); border-radius: .4rem; color-scheme: light;
}
#explorer-map { height: 36rem; min-width: 0; }
#explorer-side { display: flex; flex-direction: column; height: 36rem; min-width: 0; }
#explorer-structure { flex: 1; min-height: 0; }
#explorer-meta { display: none; }
#explorer-shown { min-height: 3em; }
#filter { font: inherit; color: inherit; background: none; border: 1px solid var(--line); border-radius: .3rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; padding: .75rem; background: #ffffff; color: #1c1e21; border: 1px solid var(--line);
  border-radius: .4rem; }
figure img { display: block; width: 100%; height: auto; max-height: 34rem; object-fit: contain; }
figcaption { margin-top: .5rem; font-size: .9rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 2rem;
  align-items: start; }
pre { overflow: auto; padding: .75rem; font-size: .8rem; background: var(--raised); border-radius: .4rem; }
footer { margin-top: 3rem; font-size: .9rem; color: var(--quiet); }
@media (max-width: 60rem) { .explorer { grid-template-columns: 1fr; } }
@media print { .explorer, nav { display: none; } .scroll { max-height: none; } }
"""

SCRIPT = """
"use strict";
const ranking = document.getElementById("ranking");

function keyOf(row, column) {
  const cell = row.cells[column];
  const key = cell.dataset.key ?? cell.textContent;
  return cell.classList.contains("number") ? (key === "" ? NaN : Number(key)) : key;
}

function sortBy(header) {
  const column = header.cellIndex;
  const numeric = header.classList.contains("number");
  const before = header.getAttribute("aria-sort");
  const first = header.dataset.first ?? (numeric ? "descending" : "ascending");
  const other = first === "ascending" ? "descending" : "ascending";
  const order = before === first ? other : first;
  const sign = order === "ascending" ? 1 : -1;
  const body = ranking.tBodies[0];
  const rows = Array.from(body.rows, row => [keyOf(row, column), row]);
  rows.sort(([a], [b]) => {
    if (!numeric) return sign * a.localeCompare(b);
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);  // unknown values stay last
    return sign * (a - b);
  });
  for (const other of ranking.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  body.append(...rows.map(([, row]) => row));
}

for (const header of ranking.tHead.rows[0].cells) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}

const filter = document.getElementById("filter");
let waiting = 0;

function filterRows() {
  const wanted = filter.value.toLowerCase().split(/[ ,]+/).filter(word => word !== "");
  let found = 0;
  for (const row of ranking.tBodies[0].rows) {
    row.textOfCells ??= Array.from(row.cells, cell => cell.textContent).join(" ").toLowerCase();
    row.hidden = !wanted.every(word => row.textOfCells.includes(word));
    if (!row.hidden) found += 1;
  }
  document.getElementById("filter-found").textContent = wanted.length ? found + " found" : "";
}

filter.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(filterRows, 150);
});

function say(text) {
  document.getElementById("explorer-message").textContent = text;
}

const rowOfCrystal = new Map();
for (const row of ranking.tBodies[0].rows) {
  rowOfCrystal.set(Number(row.querySelector("button[data-crystal]").dataset.crystal), row);
}
let shownRow = null;
let titles = null;
const UNTOLD = ["rank", "mid", "min", "history"];

function tell(crystal) {
  shownRow?.classList.remove("shown");
  shownRow = rowOfCrystal.get(Number(crystal));
  shownRow.classList.add("shown");
  titles ??= Array.from(ranking.tHead.rows[0].cells, cell => cell.innerText.replaceAll("\\n", " "));
  const told = Array.from(shownRow.cells, (cell, column) => [titles[column], cell.textContent.trim()])
    .filter(([title, text]) => text !== "" && text !== "–" && !UNTOLD.includes(title));
  document.getElementById("explorer-shown").textContent =
    told.map(([title, text]) => (["id", "formula"].includes(title) ? text : title + " " + text)).join(" · ");
}

function colourBy(explorer, properties, first) {
  const select = document.getElementById("explorer-colour");
  const others = Object.keys(properties).filter(name => typeof properties[name].values[0] === "number"
    && name !== first && !name.startsWith("t-SNE"));
  for (const name of [first, ...others]) select.add(new Option(name, name));
  select.addEventListener("change", () => {
    const known = properties[select.value].values.filter(value => !Number.isNaN(value));
    const range = known.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)],
      [Infinity, -Infinity]);
    explorer.map.applySettings({ color: { property: select.value } });
    explorer.map.applySettings({ color: { min: range[0], max: range[1] } });
  });
}

async function explore() {
  const source = document.getElementById("crystals");
  if (source === null) return;
  const data = JSON.parse(source.textContent);
  for (const property of Object.values(data.properties)) {
    property.values = property.values.map(value => value === null ? NaN : value);
  }
  const coloured = data.settings.map.color.property;  // the explorer takes the settings away
  const parts = { map: "explorer-map", info: "explorer-info", meta: "explorer-meta", structure: "explorer-structure" };
  const warnings = new Chemiscope.Warnings();
  warnings.addHandler(say);
  const explorer = await Chemiscope.DefaultVisualizer.load(parts, data, warnings);
  const showInfo = explorer.info.show.bind(explorer.info);
  explorer.info.show = where => { showInfo(where); tell(where.structure); };
  tell(data.structures.length - 1);
  colourBy(explorer, data.properties, coloured);
  window.explorer = explorer;
  ranking.addEventListener("click", event => {
    const button = event.target.closest("button[data-crystal]");
    if (button === null) return;
    const crystal = Number(button.dataset.crystal);
    explorer.select({ structure: crystal, environment: crystal });
    document.getElementById("explorer").scrollIntoView({ block: "start" });
  });
}

explore().catch(error => {
  say("The explorer cannot be shown here: " + error.message + " (it needs a browser with WebGL)");
});
"""
