// Two coils side by side: both maps to one scale, and what differs in figures and by class.
import { ask } from "/static/ask.js";
import { Chart, swatch } from "/static/chart.js";
import { causeWords } from "/static/causes.js";
import { CoilMap } from "/static/coil_map.js";
import { metres, roundStep } from "/static/coil_words.js";
import { byId, element } from "/static/dom.js";
import { toast } from "/static/dialog.js";
import { words } from "/static/palette.js";
import { Table } from "/static/table.js";
import { dateAndTime, number, percent, t } from "/static/texts.js";

const sides = byId("sides"), numbers = sides ? [Number(sides.dataset.one), Number(sides.dataset.other)] : [0, 0];
const COLOURS = ["var(--accent)", "var(--warn)"];
if (numbers.every(Boolean)) start().catch((error) => toast(error.message, "bad"));
else if (sides) byId("choose").hidden = false;

async function start() {
  const both = await Promise.all(numbers.map((number_) => ask(`/coils/${number_}/map`)));
  const names = both.map(({ coil }, i) => (both[0].coil.coil === both[1].coil.coil ? `${coil.coil}, ${dateAndTime(coil.begun_unix_ms)}` : coil.coil) || `${i + 1}`);
  const length = Math.max(...both.map(({ coil }) => coil.passed_mm), 1);
  const maps = both.map((found, i) => {
    const map = new CoilMap({ height: 200, onPick: (defect) => { location.href = `/defects/${defect}`; }, label: t("Strip map of coil {coil}", { coil: names[i] }) });
    byId(`map-${"ab"[i]}`).append(map.node);
    byId(`name-${"ab"[i]}`).replaceChildren(swatch(COLOURS[i]), element("a", { href: `/coils/${numbers[i]}` }, names[i]), ` ${found.coil.side}, ${found.coil.camera} · ${dateAndTime(found.coil.begun_unix_ms)}`);
    map.show(found, length);
    map.read(null);
    return map;
  });
  maps.forEach((map, i) => { map.onView = (view) => { const other = maps[1 - i]; other.view = [...view]; other.draw(); }; });

  const row = (what, value, show = (one) => number(one, 1)) => ({ what, a: value(both[0]), b: value(both[1]), show });
  const causes = [...new Set(both.flatMap(({ coil }) => Object.keys(coil.lost_mm2)))];
  const rows = [
    row(t("Grade"), ({ coil }) => coil.grade ?? "–", String),
    row(t("Product"), ({ coil }) => coil.product || "–", String),
    row(t("Length, m"), ({ coil }) => coil.passed_mm / 1000),
    row(t("Inspected"), ({ coil }) => coil.inspected_share, (share) => percent(share, 2)),
    row(t("Defects"), ({ coil }) => coil.called, (count) => number(count)),
    row(t("Defects per km inspected"), ({ coil }) => coil.called_per_km),
    row(t("Alarms"), ({ coil }) => coil.alarms, (count) => number(count)),
    row(t("Roll marks"), ({ coil }) => coil.roll_marks, (count) => number(count)),
    ...causes.map((cause) => row(t("Lost, m²: {cause}", { cause: causeWords(cause) }), ({ coil }) => (coil.lost_mm2[cause] ?? 0) / 1e6, (m2) => number(m2, 2))),
  ];
  const side = (key, at) => ({ key, title: names[at], number: true, show: (one) => one.show(one[key]) });
  const table = new Table([
    { key: "what", title: t("Figure") }, side("a", 0), side("b", 1),
    { key: "change", title: t("difference"), number: true, value: (one) => (typeof one.a === "number" && typeof one.b === "number" ? one.b - one.a : null),
      show: (one) => (typeof one.a === "number" && typeof one.b === "number" ? `${one.b > one.a ? "+" : one.b < one.a ? "−" : "±"}${one.show(Math.abs(one.b - one.a))}` : one.a === one.b ? t("the same") : t("differs")) },
  ]);
  table.show(rows);
  byId("figures").append(table.node);
  byId("csv").addEventListener("click", () => table.export(`${names.join("-")}.csv`));

  const classes = [...new Set(both.flatMap(({ coil }) => Object.keys(coil.called_by_class)))].sort((a, b) => total(both, b) - total(both, a)).slice(0, 12);
  const draw = () => {
    const per_km = new Chart(t("Defects per km inspected, by class"), { kind: "bar", decimals: 2, label: words });
    per_km.show(classes, both.map(({ coil }, i) => ({ name: names[i], colour: COLOURS[i], values: classes.map((name) => (coil.inspected_km ? (coil.called_by_class[name] ?? 0) / coil.inspected_km : null)) })));
    const step = roundStep(length / 40), begins = [...Array(Math.max(1, Math.ceil(length / step))).keys()].map((bin) => bin * step);
    const along = new Chart(t("Called defects along the coil"), { kind: "line", decimals: 0, label: (mm) => `${metres(mm, step < 1000 ? 1 : 0)} m` });
    along.show(begins, both.map((found, i) => ({ name: names[i], colour: COLOURS[i], values: histogram(found, step, begins) })));
    byId("charts").replaceChildren(per_km.node, along.node);
  };
  if (classes.length) { draw(); addEventListener("themechange", draw); }
}

const total = (both, name) => both.reduce((sum, { coil }) => sum + (coil.called_by_class[name] ?? 0), 0);

/** Called defects in each part of the length; null behind the coil's end. */
function histogram(found, step, begins) {
  const at = Object.fromEntries(found.columns.map((name, i) => [name, i])), counts = new Array(begins.length).fill(0);
  for (const row of found.defects) {
    if (!row[at.tentative]) counts[Math.min(begins.length - 1, Math.max(0, Math.floor(row[at.along_begin_mm] / step)))] += 1;
  }
  return counts.map((count, bin) => (begins[bin] <= found.coil.passed_mm ? count : null));
}
