// One coil: its map, grade, lost coverage, roll marks, and its defects in order.
import { ask } from "/static/ask.js";
import { Chart } from "/static/chart.js";
import { causeWords } from "/static/causes.js";
import { CoilMap } from "/static/coil_map.js";
import { className, labelWords, metres, roundStep, shareBar } from "/static/coil_words.js";
import { byId, csv, download, drawn, element } from "/static/dom.js";
import { toast } from "/static/dialog.js";
import { colour, mark, words } from "/static/palette.js";
import { Table } from "/static/table.js";
import { dateOf, number, percent, t, timeOfDay } from "/static/texts.js";

const passage = byId("name").dataset.passage, coilName = byId("name").textContent;
const map = new CoilMap({ height: 270, onPick: (defect) => { location.href = `/defects/${defect}`; }, label: t("Strip map of coil {coil}", { coil: coilName }) });
byId("map").append(map.node);
for (const button of byId("zoom").children) {
  button.addEventListener("click", () => ({ in: () => map.zoom(0.5), out: () => map.zoom(2), whole: () => map.whole() })[button.dataset.zoom]());
}

const fact = (label, value) => element("div", {}, element("dt", {}, label), element("dd", {}, value));

function facts({ coil }) {
  byId("running").hidden = coil.ended_unix_ms !== null;
  byId("facts").replaceChildren(
    fact(t("Grade"), coil.grade ?? "–"),
    fact(t("Product"), coil.product || "–"),
    fact(t("Customer"), coil.customer || "–"),
    fact(t("Begun"), element("span", {}, dateOf(coil.begun_unix_ms), element("small", {}, ` ${timeOfDay(coil.begun_unix_ms)}`))),
    fact(t("Length"), element("span", {}, metres(coil.passed_mm), element("small", {}, coil.encoded ? " m" : ` m, ${t("by line rate, not by an encoder")}`))),
    fact(t("Inspected"), shareBar(coil.inspected_share)),
    fact(t("Defects"), element("span", {}, number(coil.called), element("small", {}, coil.tentative ? ` ${t("and {count} tentative", { count: number(coil.tentative) })}` : ""))),
    fact(t("Defects per km inspected"), number(coil.called_per_km, 1)),
    fact(t("Alarms"), number(coil.alarms)),
  );
}

function legend(found) {
  const names = [...new Set(found.defects.map((row) => row[found.columns.indexOf("defect_class")]))].sort();
  const hidden = new Set();
  let withoutTentative = false;
  const toggle = (children, change) => element("li", {}, element("button", {
    type: "button", "aria-pressed": "true",
    onclick: (event) => {
      const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
      event.currentTarget.setAttribute("aria-pressed", String(on));
      change(on);
      map.hide(hidden, withoutTentative);
    },
  }, children));
  const hatch = (kind) => drawn("svg", { class: "hatch", viewBox: "0 0 18 12", "aria-hidden": "true" },
    drawn("rect", { x: 0, y: 0, width: 18, height: 12, fill: `var(--${kind}-ground)`, stroke: "none" }), drawn("path", { d: "M0 12L12 0M6 12L18 0", stroke: `var(--${kind})`, "stroke-width": 1.2 }));
  const items = names.map((name) => toggle([mark(name), words(name)], (on) => (on ? hidden.delete(name) : hidden.add(name))));
  items.push(toggle([t("tentative ones are hollow")], (on) => { withoutTentative = !on; }));
  items.push(element("li", {}, hatch("bad"), t("not inspected")), element("li", {}, hatch("warn"), t("degraded: looked at, not outlined")));
  byId("legend").replaceChildren(...items);
  const limits = [];
  if (found.others) limits.push(t("The {count} worst defects are drawn; {others} more are in the table.", { count: number(found.defects.length), others: number(found.others) }));
  if (found.other_spans) limits.push(t("{count} shorter spans that were not inspected are not drawn.", { count: number(found.other_spans) }));
  if (limits.length) byId("legend").after(element("p", { class: "note" }, limits.join(" ")));
}

function lost(found) {
  const table = new Table([
    { key: "cause", title: t("Cause"), value: (row) => causeWords(row.cause) },
    { key: "missed", title: t("not inspected, m"), number: true, show: (row) => number(row.missed, 2) },
    { key: "degraded", title: t("degraded, m"), number: true, show: (row) => number(row.degraded, 2) },
    { key: "area", title: t("area, m²"), number: true, show: (row) => number(row.area, 2) },
  ], { sort: ["missed", "descending"], empty: t("Nothing was lost: all of the strip was inspected.") });
  const areas = found.coil.lost_mm2, byCause = new Map(found.lost.map(([cause, degraded, missed]) => [cause, { cause, missed: missed / 1000, degraded: degraded / 1000, area: null }]));
  for (const [cause, mm2] of Object.entries(areas)) {
    byCause.set(cause, { ...(byCause.get(cause) ?? { cause, missed: 0, degraded: 0 }), area: mm2 / 1e6 });
  }
  table.show([...byCause.values()]);
  byId("lost").replaceChildren(table.node);
  byId("lost-csv").addEventListener("click", () => table.export(`${coilName}-lost.csv`));
  const { coil } = found, parts = [["inspected", coil.passed_mm - coil.missed_mm - coil.degraded_mm - coil.unrecorded_mm, "good"], ["degraded", coil.degraded_mm, "warn"], ["missed", coil.missed_mm, "bad"], ["unrecorded", coil.unrecorded_mm, "soft"]];
  let x = 0;
  const bar = drawn("svg", { class: "stack", viewBox: "0 0 100 6", preserveAspectRatio: "none", role: "img", "aria-label": t("{inspected} of the area inspected", { inspected: percent(coil.inspected_share, 2) }) });
  for (const [, mm, kind] of parts) {
    const width = coil.passed_mm ? (100 * Math.max(0, mm)) / coil.passed_mm : 0;
    bar.append(drawn("rect", { x, y: 0, width, height: 6, fill: `var(--${kind})` }));
    x += width;
  }
  byId("lost").prepend(bar);
  if (coil.unrecorded_mm) byId("lost").append(element("p", { class: "note" }, t("{metres} m passed without a record: their messages could not be fetched.", { metres: metres(coil.unrecorded_mm, 2) })));
}

function grade({ grade: told }) {
  if (!told) { byId("grade").replaceChildren(element("p", { class: "soft" }, t("Not graded: the coil has not ended, or the service has no grading rules."))); return; }
  const severities = Object.entries(told.defects_by_severity ?? {}).map(([severity, count]) => t("severity {severity}: {count}", { severity, count: number(count) }));
  byId("grade").replaceChildren(
    element("p", { class: "big-grade" }, told.grade), element("p", {}, told.text),
    told.reasons?.length ? element("ul", { class: "reasons" }, told.reasons.map((one) => element("li", {}, element("b", {}, one.grade), ` ${one.text}`))) : null,
    severities.length ? element("p", { class: "soft" }, severities.join(" · ")) : null,
    element("p", { class: "soft" }, t("by the rules {rules}; {share} of the graded length was inspected", { rules: told.rules, share: percent(told.inspected_share, 1) })),
  );
  if (!told.reasons?.length) byId("grade").querySelectorAll("ul").forEach((one) => one.remove());
}

function rolls(found) {
  const rows = found.roll_marks.map((mark_) => element("li", {}, className(mark_.class), ` ${t("every {pitch} mm, {marks} of {due} marks, from {from} to {to} m", { pitch: number(mark_.pitch_mm, 1), marks: number(mark_.marks), due: number(mark_.marks_due), from: metres(mark_.along_mm[0], 1), to: metres(mark_.along_mm[1], 1) })}: `,
    element("b", {}, mark_.roll ? `${mark_.roll}, ${mark_.stand} (${percent(mark_.share, 0)})` : t("no configured roll fits"))));
  byId("rolls").replaceChildren(rows.length ? element("ul", { class: "reasons" }, rows) : element("p", { class: "soft" }, t("No roll marks were recognised.")));
}

function charts(found) {
  const at = Object.fromEntries(found.columns.map((name, i) => [name, i]));
  const called = found.defects.filter((row) => !row[at.tentative]);
  if (!called.length) return;
  const length = Math.max(found.coil.passed_mm, 1), [left, right] = map.across;
  const along = new Chart(t("Called defects along the coil"), { kind: "stack", decimals: 0, label: (mm) => `${metres(mm, length < 40_000 ? 1 : 0)} m` });
  along.show(...histogram(called, (row) => (row[at.along_begin_mm] + row[at.along_end_mm]) / 2, (row) => row[at.defect_class], 0, length, 40));
  const across = new Chart(t("Called defects across the strip"), { kind: "stack", decimals: 0, label: (mm) => `${number(mm)} mm` });
  across.show(...histogram(called, (row) => (row[at.across_begin_mm] + row[at.across_end_mm]) / 2, (row) => row[at.defect_class], left, right, 30));
  byId("charts").replaceChildren(along.node, across.node);
}

/** Where each of about so many bins begins, at round steps, and a series of counts for each class, the most frequent first. */
function histogram(rows, value, className_, low, high, bins) {
  const step = roundStep((high - low) / bins), first = Math.floor(low / step), counts = new Map();
  bins = Math.max(1, Math.ceil(high / step) - first);
  for (const row of rows) {
    const bin = Math.min(bins - 1, Math.max(0, Math.floor(value(row) / step) - first)), name = className_(row);
    if (!counts.has(name)) counts.set(name, new Array(bins).fill(0));
    counts.get(name)[bin] += 1;
  }
  const series = [...counts].sort((a, b) => sum(b[1]) - sum(a[1])).map(([name, values]) => ({ name: words(name), colour: colour(name), values }));
  return [[...Array(bins).keys()].map((bin) => (first + bin) * step), series];
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

const defects = new Table([
  { key: "class", title: t("Class"), show: (row) => className(row.class, row.tentative) },
  { key: "severity", title: t("Severity"), number: true, show: (row) => number(row.severity) },
  { key: "along", title: t("from head, m"), number: true, value: (row) => row.along_mm[0] / 1000, show: (row) => number(row.along_mm[0] / 1000, 2) },
  { key: "tail", title: t("from tail, m"), number: true, value: (row) => row.from_tail_mm[0] / 1000, show: (row) => number(row.from_tail_mm[0] / 1000, 2) },
  { key: "across", title: t("across, mm"), number: true, value: (row) => (row.across_mm[0] + row.across_mm[1]) / 2, show: (row) => number((row.across_mm[0] + row.across_mm[1]) / 2) },
  { key: "probability", title: t("Probability"), number: true, show: (row) => percent(row.probability, 0) },
  { key: "area_mm2", title: t("Area, mm²"), number: true, show: (row) => number(row.area_mm2) },
  { key: "size", title: t("Length × width, mm"), number: true, value: (row) => row.length_mm, show: (row) => `${number(row.length_mm, 1)} × ${number(row.width_mm, 1)}` },
  { key: "label", title: t("Label"), value: (row) => labelWords(row.label) },
], { onOpen: (row) => { location.href = `/defects/${row.number}`; }, rowKey: (row) => row.number, empty: t("No defects") });
byId("defects").append(defects.node);

async function load(after = null) {
  const found = await ask(`/coils/${passage}/defects`, { class: byId("class").value, after });
  defects.show(after ? [...defects.rows, ...found.defects] : found.defects);
  byId("next").hidden = !found.more;
}
byId("next").addEventListener("click", () => load(defects.rows.at(-1).number).catch((error) => toast(error.message, "bad")));
byId("class").addEventListener("change", () => load().catch((error) => toast(error.message, "bad")));
byId("defects-csv").addEventListener("click", () => defects.export(`${coilName}-defects.csv`));

try {
  const [found] = await Promise.all([ask(`/coils/${passage}/map`), load()]);
  byId("notes").replaceChildren(...found.notes.map((note) => element("p", { class: "note" }, note)));
  byId("class").append(...Object.keys(found.coil.called_by_class).sort().map((name) => element("option", { value: name }, words(name))));
  map.show(found);
  facts(found); legend(found); lost(found); grade(found); rolls(found); charts(found);
  map.read(null);
  addEventListener("themechange", () => charts(found));
} catch (error) {
  toast(error.message, "bad");
}
