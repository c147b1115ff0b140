// Roll marks by the suspected roll: how many coils it marked, since when, and where.
import { ask } from "/static/ask.js";
import { Chart } from "/static/chart.js";
import { className, metres } from "/static/coil_words.js";
import { byId, element, say } from "/static/dom.js";
import { toast } from "/static/dialog.js";
import { Table } from "/static/table.js";
import { dateAndTime, dayIn, dayOf, number, percent, t } from "/static/texts.js";

const NOBODY = "";
if (byId("rolls")) start();

function start() {
  let marks = [], chosen = null;

  const rolls = new Table([
    { key: "roll", title: t("Roll"), value: (row) => row.name, show: (row) => element("b", {}, row.name) },
    { key: "stand", title: t("Stand") },
    { key: "coils", title: t("Coils"), number: true },
    { key: "rows", title: t("Rows of marks"), number: true },
    { key: "marks", title: t("Marks"), number: true, show: (row) => number(row.marks) },
    { key: "pitch", title: t("Pitch, mm"), number: true, show: (row) => number(row.pitch, 1) },
    { key: "diameter", title: t("Diameter, mm"), number: true, show: (row) => number(row.diameter, 1) },
    { key: "share", title: t("Sure of the roll"), number: true, show: (row) => percent(row.share, 0) },
    { key: "first", title: t("First seen"), show: (row) => dateAndTime(row.first) },
    { key: "last", title: t("Last seen"), show: (row) => dateAndTime(row.last) },
  ], { sort: ["coils", "descending"], onOpen: (row) => { chosen = chosen === row.key ? null : row.key; show(); }, rowKey: (row) => row.key, empty: t("No roll marks were recognised in this time.") });
  byId("rolls").append(rolls.node);

  const rows = new Table([
    { key: "coil", title: t("Coil"), show: (row) => element("a", { href: `/coils/${row.passage}` }, row.coil) },
    { key: "begun_unix_ms", title: t("Begun"), show: (row) => dateAndTime(row.begun_unix_ms) },
    { key: "class", title: t("Class"), show: (row) => className(row.class) },
    { key: "roll", title: t("Suspected rolls"), value: (row) => row.suspects.map((one) => `${one.roll} ${percent(one.share, 0)}`).join(", ") },
    { key: "pitch_mm", title: t("Pitch, mm"), number: true, show: (row) => `${number(row.pitch_mm, 1)} ± ${number(row.pitch_error_mm, 1)}` },
    { key: "marks", title: t("Marks"), number: true, show: (row) => t("{marks} of {due}", { marks: number(row.marks), due: number(row.marks_due) }) },
    { key: "across", title: t("across, mm"), number: true, value: (row) => row.across_mm[0], show: (row) => `${number(row.across_mm[0])}–${number(row.across_mm[1])}` },
    { key: "along", title: t("from head, m"), number: true, value: (row) => row.along_mm[0] / 1000, show: (row) => `${metres(row.along_mm[0])}–${metres(row.along_mm[1])}` },
    { key: "confidence", title: t("No chance, by"), number: true, show: (row) => percent(row.confidence, 1) },
  ], { sort: ["begun_unix_ms", "descending"], empty: t("No roll marks were recognised in this time.") });
  byId("marks").append(rows.node);

  function byRoll() {
    const found = new Map();
    for (const mark of marks) {
      const key = keyOf(mark);
      if (!found.has(key)) found.set(key, { key, name: mark.roll ?? t("no configured roll fits"), stand: mark.stand ?? "–", passages: new Set(), rows: 0, marks: 0, pitches: [], diameters: [], shares: [], first: Infinity, last: 0 });
      const of = found.get(key);
      of.passages.add(mark.passage);
      of.rows += 1;
      of.marks += mark.marks;
      of.pitches.push(mark.pitch_mm);
      if (mark.suspects.length) { of.diameters.push(...mark.suspects[0].diameter_mm); of.shares.push(mark.share); }
      of.first = Math.min(of.first, mark.begun_unix_ms);
      of.last = Math.max(of.last, mark.begun_unix_ms);
    }
    return [...found.values()].map((of) => ({ ...of, coils: of.passages.size, pitch: mean(of.pitches), diameter: mean(of.diameters), share: mean(of.shares) }));
  }

  function show() {
    const all = byRoll(), of = all.find((one) => one.key === chosen);
    rolls.show(all);
    for (const line of rolls.body.children) line.setAttribute("aria-selected", String(line.dataset.key === chosen));
    rows.show(of ? marks.filter((mark) => keyOf(mark) === chosen) : marks);
    say(byId("which"), of ? t("Rows of marks of {roll}", { roll: of.name }) : t("All rows of marks"));
    chart(all);
  }

  function chart(all) {
    const days = [...new Set(marks.map((mark) => dayIn(mark.begun_unix_ms)))].sort(), most = [...all].sort((a, b) => b.coils - a.coils).slice(0, 6);
    if (!days.length) { byId("charts").replaceChildren(); return; }
    const every = [];
    for (let day = new Date(`${days[0]}T00:00:00Z`); day <= new Date(`${days.at(-1)}T00:00:00Z`); day.setUTCDate(day.getUTCDate() + 1)) every.push(day.toISOString().slice(0, 10));
    const made = new Chart(t("Coils with marks, by roll and day"), { kind: "stack", decimals: 0, label: dayOf });
    made.show(every, most.map((one, i) => ({ name: one.name, colour: INKS[i], values: every.map((day) => new Set(marks.filter((mark) => keyOf(mark) === one.key && dayIn(mark.begun_unix_ms) === day).map((mark) => mark.passage)).size) })));
    byId("charts").replaceChildren(made.node);
  }

  async function load() {
    try {
      const found = await ask("/rolls/marks", { days: byId("days").value });
      marks = found.marks;
      say(byId("found"), found.more ? t("the newest {count} rows of marks", { count: number(marks.length) }) : t("{count} rows of marks", { count: number(marks.length) }));
      show();
    } catch (error) {
      toast(error.message, "bad");
    }
  }
  byId("days").addEventListener("change", load);
  byId("csv").addEventListener("click", () => rolls.export("rolls.csv"));
  byId("marks-csv").addEventListener("click", () => rows.export("roll-marks.csv"));
  addEventListener("themechange", show);
  load();
}

const INKS = ["#0b7285", "#d9722e", "#7d4fa3", "#1f8a5b", "#c9a227", "#4f9bd9"];
const keyOf = (mark) => (mark.roll === null ? NOBODY : `${mark.service} ${mark.stand} ${mark.roll}`);
const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
