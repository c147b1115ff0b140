// The alarm journal: what the history holds, filtered, page by page, and as CSV.
import { ask } from "/static/ask.js";
import { CHANGES, changeName } from "/static/changes.js";
import { toast } from "/static/dialog.js";
import { byId, element, say } from "/static/dom.js";
import { PRIORITIES, priorityMark, priorityName, priorityTag } from "/static/priority.js";
import { Table } from "/static/table.js";
import { dateAndTime, number, t } from "/static/texts.js";

const form = byId("filter");
const KINDS = { good: ["acknowledged", "unshelved"], bad: ["active"], warn: ["shelved", "suppressed"] };
const kindOf = (change) => Object.keys(KINDS).find((kind) => KINDS[kind].includes(change)) ?? "";

const table = new Table([
  { key: "at_unix_ms", title: t("Time"), show: (row) => dateAndTime(row.at_unix_ms) },
  { key: "priority", title: t("Priority"), value: (row) => PRIORITIES.indexOf(row.priority), show: (row) => priorityTag(row.priority) },
  { key: "change", title: t("What happened"), value: (row) => changeName(row.change), show: (row) => element("span", { class: "tag", "data-kind": kindOf(row.change) }, changeName(row.change)) },
  { key: "text", title: t("Alarm"), show: (row) => element("span", {}, row.text) },
  { key: "coil", title: t("Coil"), value: (row) => row.coil || null },
  { key: "along_m", title: t("At m"), number: true, show: (row) => (row.coil ? number(row.along_m, 2) : "–") },
  { key: "person", title: t("By"), show: (row) => element("span", {}, row.person ?? "–", row.comment ? element("span", { class: "reason" }, row.comment) : null) },
], { rowKey: (row) => String(row.number), empty: t("No alarm of that kind is in the journal.") });

let rows = [], before = null, asked = 0;

function query() {
  const values = Object.fromEntries(new FormData(form));
  for (const name of ["priority", "change"]) {
    values[name] = [...byId(name).querySelectorAll("[aria-pressed=true]")].map((one) => one.value).join(",");
  }
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value));
}

async function load(older = false) {
  const wanted = query(), mine = ++asked;
  const search = new URLSearchParams(wanted).toString();
  byId("csv").href = search ? `/journal/csv?${search}` : "/journal/csv";
  history.replaceState(null, "", search ? `/journal?${search}` : "/journal");
  try {
    const found = await ask("/journal/rows", { ...wanted, before: older ? before : null });
    if (mine !== asked) return; // another filter was set meanwhile
    rows = older ? [...rows, ...found.rows] : found.rows;
    before = found.before;
    table.show(rows);
    byId("older").hidden = before === null;
    say(byId("count"), t("{count} transitions are shown", { count: rows.length }));
  } catch (error) {
    toast(error.message, "bad");
  }
}

function choices(id, values, shown, chosen) {
  byId(id).append(...values.map((value) => element("button", {
    type: "button", value, "aria-pressed": String(chosen.includes(value)),
    onclick: (event) => {
      const pressed = event.currentTarget.getAttribute("aria-pressed") === "true";
      event.currentTarget.setAttribute("aria-pressed", String(!pressed));
      load();
    },
  }, ...shown(value))));
}

if (form) {
  const given = new URLSearchParams(location.search);
  const list = (name) => (given.get(name) ?? "").split(",");
  choices("priority", PRIORITIES, (one) => [priorityMark(one), priorityName(one)], list("priority"));
  choices("change", Object.keys(CHANGES), (one) => [changeName(one)], list("change"));
  for (const input of form.elements) if (input.name && given.has(input.name)) input.value = given.get(input.name);
  byId("rows").append(table.node);
  let waiting = null;
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(load, 250); });
  form.addEventListener("submit", (event) => { event.preventDefault(); load(); });
  form.addEventListener("reset", () => {
    for (const one of form.querySelectorAll("[aria-pressed]")) one.setAttribute("aria-pressed", "false");
    setTimeout(load);
  });
  byId("older").addEventListener("click", () => load(true));
  load();
}
