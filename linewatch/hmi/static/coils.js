// The list of coils: the filter stands in the address, so that it can be kept, sent and gone back to.
import { ask } from "/static/ask.js";
import { causeWords } from "/static/causes.js";
import { classCounts, gradeTag, metres, shareBar } from "/static/coil_words.js";
import { byId, element, say } from "/static/dom.js";
import { toast } from "/static/dialog.js";
import { Table } from "/static/table.js";
import { dateAndTime, number, t } from "/static/texts.js";

const form = byId("filter");
if (form) start();

function start() {
  for (const option of byId("cause").options) if (option.value) option.textContent = causeWords(option.value);
  const chosen = new Map();
  let rows = [], more = false;

  const pick = (row) => element("input", {
    type: "checkbox", checked: chosen.has(row.passage), "aria-label": t("choose {coil} to compare", { coil: row.coil }),
    onclick: (event) => event.stopPropagation(),
    onchange: (event) => {
      if (event.target.checked) chosen.set(row.passage, row); else chosen.delete(row.passage);
      if (chosen.size > 2) chosen.delete(chosen.keys().next().value);
      table.show(rows);
      byId("compare").disabled = chosen.size !== 2;
    },
  });
  const table = new Table([
    { key: "pick", title: t("Chosen"), value: (row) => (chosen.has(row.passage) ? t("yes") : ""), show: pick },
    { key: "coil", title: t("Coil"), show: (row) => element("a", { href: `/coils/${row.passage}` }, row.coil) },
    { key: "begun_unix_ms", title: t("Begun"), value: (row) => row.begun_unix_ms, show: (row) => dateAndTime(row.begun_unix_ms) },
    { key: "service", title: t("Side, camera"), value: (row) => `${row.side} ${row.camera}` },
    { key: "grade", title: t("Grade"), show: (row) => gradeTag(row.grade, row.ended_unix_ms === null) },
    { key: "product", title: t("Product") },
    { key: "passed_mm", title: t("Length, m"), number: true, show: (row) => metres(row.passed_mm) },
    { key: "inspected_share", title: t("Inspected"), number: true, show: (row) => shareBar(row.inspected_share) },
    { key: "called", title: t("Defects"), value: (row) => row.called, show: (row) => classCounts(row.called_by_class, 3) },
    { key: "called_per_km", title: t("per km"), number: true, show: (row) => number(row.called_per_km, 1) },
    { key: "alarms", title: t("Alarms"), number: true, show: (row) => number(row.alarms) },
    { key: "roll_marks", title: t("Roll marks"), number: true, show: (row) => number(row.roll_marks) },
  ], { onOpen: (row) => { location.href = `/coils/${row.passage}`; }, rowKey: (row) => row.passage, empty: t("No coil fits these filters.") });
  byId("list").append(table.node);

  const wanted = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));

  let asking = 0;
  async function load(after = null) {
    const mine = ++asking;
    try {
      const found = await ask("/coils/found", { ...wanted(), after });
      if (mine !== asking) return;
      rows = after ? [...rows, ...found.coils] : found.coils;
      more = found.more;
      table.show(rows);
      byId("next").hidden = !more;
      byId("incomplete").hidden = !found.incomplete;
      say(byId("found"), more ? t("the newest {count} coils", { count: number(rows.length) }) : rows.length === 1 ? t("one coil") : t("{count} coils", { count: number(rows.length) }));
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  function fromAddress() {
    const query = new URLSearchParams(location.search);
    for (const field of form.elements) if (field.name) field.value = query.get(field.name) ?? "";
    byId("more").open = ["service", "side", "lost", "cause", "rolls", "labelled", "ended"].some((name) => query.get(name));
    load();
  }

  function search() {
    const query = new URLSearchParams(wanted()).toString();
    const address = query ? `/coils?${query}` : "/coils";
    if (address !== location.pathname + location.search) history.pushState(null, "", address);
    load();
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  form.addEventListener("change", search);
  form.addEventListener("reset", () => setTimeout(search));
  addEventListener("popstate", fromAddress);
  byId("next").addEventListener("click", () => load(rows.at(-1).passage));
  byId("csv").addEventListener("click", () => table.export("coils.csv"));
  byId("compare").addEventListener("click", () => {
    const [a, b] = [...chosen.keys()];
    location.href = `/compare?a=${a}&b=${b}`;
  });
  fromAddress();
}
