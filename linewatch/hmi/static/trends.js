// Weeks: defects per km by class, grades, and what coverage was lost to.
import { ask } from "/static/ask.js";
import { Chart } from "/static/chart.js";
import { causeWords } from "/static/causes.js";
import { byId, element } from "/static/dom.js";
import { toast } from "/static/dialog.js";
import { colour, words } from "/static/palette.js";
import { Table } from "/static/table.js";
import { dayOf, number, percent, t } from "/static/texts.js";

/** As many classes as can be told apart; the others are one line. */
const CLASSES = 8;
const GRADE_INKS = ["#1f8a5b", "#4f9bd9", "#c9a227", "#d9722e", "#b3261e", "#7d4fa3"];
const form = byId("filter");
if (form) start();

function start() {
  let weeks = [];
  const show = () => { facts(weeks); charts(weeks); table(weeks); };
  async function load() {
    try {
      weeks = (await ask("/trends/weeks", wanted())).weeks;
      show();
    } catch (error) {
      toast(error.message, "bad");
    }
  }
  const wanted = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  function fromAddress() {
    const query = new URLSearchParams(location.search);
    for (const field of form.elements) if (field.name) field.value = query.get(field.name) ?? "";
    load();
  }
  function search() {
    const query = new URLSearchParams(wanted()).toString();
    history.pushState(null, "", query ? `/trends?${query}` : "/trends");
    load();
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  form.addEventListener("reset", () => setTimeout(search));
  addEventListener("popstate", fromAddress);
  addEventListener("themechange", show);
  fromAddress();
}

const sum = (rows, value) => rows.reduce((all, row) => all + value(row), 0);
const ranked = (weeks, key) => {
  const totals = new Map();
  for (const week of weeks) for (const [name, count] of Object.entries(week[key])) totals.set(name, (totals.get(name) ?? 0) + count);
  return [...totals].sort((a, b) => b[1] - a[1]).map(([name]) => name);
};
const calledIn = (week) => Object.values(week.called).reduce((a, b) => a + b, 0);
const perKm = (week, names) => (week.inspected_km > 0 ? names.reduce((all, name) => all + (week.called[name] ?? 0), 0) / week.inspected_km : null);

function facts(weeks) {
  const fact = (label, value, unit = "") => element("div", {}, element("dt", {}, label), element("dd", {}, value, element("small", {}, unit && ` ${unit}`)));
  const passed = sum(weeks, (week) => week.passed_km), inspected = sum(weeks, (week) => week.inspected_km), called = sum(weeks, calledIn);
  byId("facts").replaceChildren(
    fact(t("Coils"), number(sum(weeks, (week) => week.passages))), fact(t("Strip"), number(passed, 1), "km"),
    fact(t("Inspected"), percent(passed ? inspected / passed : null, 1)), fact(t("Defects"), number(called)),
    fact(t("Defects per km inspected"), number(inspected ? called / inspected : null, 2)), fact(t("Roll marks"), number(sum(weeks, (week) => week.roll_marks))),
  );
}

function charts(weeks) {
  const at = weeks.map((week) => week.begun), label = (day) => dayOf(day);
  const names = ranked(weeks, "called"), shown = names.slice(0, CLASSES), others = names.slice(CLASSES);
  const rates = shown.map((name) => ({ name: words(name), colour: colour(name), values: weeks.map((week) => perKm(week, [name])) }));
  if (others.length) rates.push({ name: t("{count} other classes", { count: others.length }), colour: "var(--soft)", dashed: true, values: weeks.map((week) => perKm(week, others)) });
  const defects = new Chart(t("Defects per km inspected, by class"), { kind: "line", decimals: 2, label, height: 300 });
  defects.show(at, rates);

  const grades = ranked(weeks, "grades").sort((a, b) => (a === "") - (b === "") || a.localeCompare(b));
  const ink = (grade, i) => (grade === "" ? "var(--strong-line)" : grade === "ungraded" ? "var(--soft)" : GRADE_INKS[i % GRADE_INKS.length]);
  const share = new Chart(t("Share of coils by grade"), { kind: "stack", unit: "%", decimals: 1, label, high: 100, height: 300 });
  share.show(at, grades.map((grade, i) => ({ name: grade === "" ? t("not graded") : grade, colour: ink(grade, i), values: weeks.map((week) => (week.passages ? (100 * (week.grades[grade] ?? 0)) / week.passages : null)) })));

  const causes = ranked(weeks, "lost_m2");
  const lost = new Chart(t("Coverage lost by cause"), { kind: "stack", unit: "m²", decimals: 2, label });
  lost.show(at, causes.map((cause, i) => ({ name: causeWords(cause), colour: LOST_INKS[i % LOST_INKS.length], values: weeks.map((week) => week.lost_m2[cause] ?? 0) })));

  const inspected = new Chart(t("Strip that passed"), { kind: "stack", unit: "km", decimals: 2, label });
  inspected.show(at, [
    { name: t("inspected"), colour: "var(--good)", values: weeks.map((week) => week.inspected_km) },
    { name: t("not inspected or degraded"), colour: "var(--bad)", values: weeks.map((week) => week.passed_km - week.inspected_km) },
  ]);
  byId("charts").replaceChildren(defects.node, share.node, lost.node, inspected.node);
}

const LOST_INKS = ["#b3261e", "#d9722e", "#c9a227", "#4f9bd9", "#7d4fa3", "#1f8a5b", "#8a6d5a", "#5f7682"];

function table(weeks) {
  const made = new Table([
    { key: "begun", title: t("Week from"), show: (week) => dayOf(week.begun) },
    { key: "passages", title: t("Coils"), number: true },
    { key: "passed_km", title: t("Strip, km"), number: true, show: (week) => number(week.passed_km, 1) },
    { key: "inspected", title: t("Inspected"), number: true, value: (week) => (week.passed_km ? week.inspected_km / week.passed_km : null), show: (week) => percent(week.passed_km ? week.inspected_km / week.passed_km : null, 1) },
    { key: "called", title: t("Defects"), number: true, value: calledIn, show: (week) => number(calledIn(week)) },
    { key: "rate", title: t("per km"), number: true, value: (week) => perKm(week, Object.keys(week.called)), show: (week) => number(perKm(week, Object.keys(week.called)), 2) },
    { key: "grades", title: t("Grades"), value: (week) => Object.entries(week.grades).filter(([name]) => name).sort().map(([name, count]) => `${name} ${count}`).join(", ") },
    { key: "roll_marks", title: t("Roll marks"), number: true },
  ], { sort: ["begun", "descending"] });
  made.show(weeks);
  byId("weeks").replaceChildren(made.node);
  byId("csv").onclick = () => made.export("weeks.csv");
}
