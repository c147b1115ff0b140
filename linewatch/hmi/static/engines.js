// The engines page: which run, the one on trial, and the tiles on which they disagree, side by side.
import { act, ask } from "/static/ask.js";
import { dialog, toast } from "/static/dialog.js";
import { byId, drawn, element, say } from "/static/dom.js";
import { follow } from "/static/feed.js";
import { words } from "/static/palette.js";
import { N_, number, percent, t, timeOfDay } from "/static/texts.js";

const TASKS = {
  screen: N_("screen: looks at every tile"), classify: N_("classify: names defects"),
  segment: N_("segment: outlines defects"), inspect: N_("inspect: finds, names and outlines defects"),
};
const STATES = {
  loading: ["warn", N_("is being loaded")], ready: ["good", N_("ready; it was not compared")],
  compared: ["good", N_("is compared")], failed: ["bad", N_("failed")],
};
const BACKENDS = { serving: "", preparing: N_("is being prepared"), lost: N_("is lost") };
const LOOK_AGAIN_MS = 3000;
const mayExchange = byId("actions") !== null;
let runningBefore = null, beside = null, backTo = null, available = [], shownPairs = "";

follow(["status"], { state: take, news: take });

function take({ status }) {
  if (!status) return;
  const { backend } = status;
  say(byId("backend"), backend ? [backend.name, t(BACKENDS[backend.state])].filter(Boolean).join(" ") : "–");
  byId("backend-text").hidden = !backend?.text;
  say(byId("backend-text"), backend?.text ?? "");
  byId("running").replaceChildren(...(status.engines.length ? status.engines.map(card) : [element("p", { class: "soft" }, t("This process runs no engines: each camera's service does."))]));
  const running = status.engines.map((one) => one.identity).join();
  if (running !== runningBefore) { runningBefore = running; known(); } // what a rollback brings back has changed
  const changed = JSON.stringify(beside) !== JSON.stringify(status.beside);
  if (changed || !byId("trial").firstChild) { beside = status.beside; showTrial(); }
  if (mayExchange) byId("load").disabled = beside !== null && beside.state !== "failed";
}

/** "name@digest+precision/runtime": the parts of an identity that people tell apart. */
function parts(identity) {
  const [name, rest = ""] = identity.split("@");
  return { name, rest };
}

function card({ role, identity }) {
  const { name, rest } = parts(identity);
  return element("div", { class: "card" }, element("small", {}, t(TASKS[role] ?? role)), element("b", {}, name),
    element("span", {}, element("span", { class: "tag" }, precision(identity))), element("code", {}, rest));
}

function precision(identity) {
  const found = /int8|fp16|float16|bf16|tf32/i.exec(identity);
  return found ? found[0].toLowerCase().replace("float16", "fp16") : "fp32";
}

function showTrial() {
  if (!beside) {
    byId("trial").replaceChildren(element("p", { class: "soft" }, t("No engine is on trial.")));
    return;
  }
  const [kind, text] = STATES[beside.state] ?? ["", beside.state];
  const who = element("div", { class: "candidate" }, element("small", { class: "soft" }, beside.role ? t(TASKS[beside.role] ?? beside.role) : ""),
    element("b", {}, beside.name), element("span", { class: "tag", "data-kind": kind }, t(text)),
    beside.identity ? element("span", {}, element("span", { class: "tag" }, precision(beside.identity))) : null,
    beside.text ? element("p", { class: "note bad" }, beside.text) : null,
    mayExchange ? element("div", { class: "does" },
      ["ready", "compared"].includes(beside.state) ? element("button", { type: "button", class: "main", onclick: promote }, t("Promote…")) : null,
      element("button", { type: "button", onclick: drop }, t("Drop"))) : null);
  byId("trial").replaceChildren(element("div", { class: "trial" }, who, beside.state === "compared" ? agreement() : element("div")));
}

function agreement() {
  const { tiles, agreed, running_only: running, shadow_only: trial, failed } = beside;
  const other = Math.max(0, tiles - agreed - running - trial), all = tiles || 1;
  let from = 0;
  const bar = drawn("svg", { viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": t("Agreement on {tiles} tiles", { tiles: number(tiles) }) });
  const rows = [["agree", t("both say the same"), agreed], ["running", t("the running one alone calls"), running], ["trial", t("the one on trial alone calls"), trial], ["other", t("both call, and differ"), other]];
  for (const [key, , count] of rows) {
    bar.append(drawn("rect", { class: key, x: from, y: 0, width: (count / all) * 1000, height: 10 }));
    from += (count / all) * 1000;
  }
  return element("div", { class: "agreement" },
    element("div", {}, element("span", { class: "share" }, tiles ? percent(agreed / tiles) : "–"), " ", element("span", { class: "soft" }, t("alike, of {tiles} tiles that both inspected", { tiles: number(tiles) }))),
    element("div", { class: "bar-of" }, bar),
    element("dl", {}, rows.map(([key, name, count]) => element("div", {}, element("dt", {}, element("span", { class: `key ${key}` }), name), element("dd", {}, number(count)))),
      failed ? element("div", {}, element("dt", {}, t("the one on trial failed on")), element("dd", {}, number(failed))) : null));
}

async function lookAtPairs() {
  if (document.hidden || beside?.state !== "compared") { byId("differences").hidden = beside?.state !== "compared"; return; }
  let found;
  try { found = await ask("/engines/disagreements"); } catch { return; }
  byId("differences").hidden = false;
  const key = `${found.trial}:${found.disagreements.map((one) => one.number)}`;
  if (key === shownPairs) return;
  shownPairs = key;
  byId("pairs").replaceChildren(...(found.disagreements.length ? found.disagreements.map((one) => pair(found, one)) : [element("li", { class: "empty" }, t("They have agreed on every tile so far."))]));
}

function pair(found, one) {
  const source = `/engines/picture?${new URLSearchParams({ trial: found.trial, number: one.number })}`;
  const half = (of, name, call) => element("figure", { "data-of": of },
    element("div", { class: "picture" }, element("img", { src: source, alt: t("Strip at {metres} m", { metres: number(one.along_mm[0] / 1000, 3) }), width: one.columns, height: one.lines }), outlines(one, call)),
    element("figcaption", {}, element("b", {}, name), said(call)));
  return element("li", {}, element("div", { class: "both" }, half("running", found.running, one.running), half("trial", found.trial, one.trial)),
    element("small", { class: "soft" }, t("coil {coil} at {metres} m, {across} mm across; {time}", {
      coil: one.coil || "–", metres: number(one.along_mm[0] / 1000, 3), across: number(one.across_mm[0], 0), time: timeOfDay(one.captured_unix_ns / 1e6),
    })));
}

function said(call) {
  const scores = Object.entries(call.scores).map(([name, score]) => `${words(name)} ${number(score, 2)}`).join(", ");
  return element("span", {}, element("span", { class: "tag", "data-kind": call.called ? "bad" : "" }, call.called ? t("defect") : t("nothing")), " ", scores);
}

function outlines(one, call) {
  const path = call.rings.map((ring) => `M${ring.map((corner) => corner.join(" ")).join("L")}Z`).join("");
  return drawn("svg", { viewBox: `0 0 ${one.columns} ${one.lines}`, preserveAspectRatio: "none", "aria-hidden": "true" }, path ? drawn("path", { d: path }) : []);
}

async function known() {
  try {
    ({ back_to: backTo, available } = await ask("/engines/known"));
  } catch (error) {
    if (mayExchange) toast(error.message, "bad");
    return;
  }
  if (!mayExchange) return;
  byId("rollback").disabled = backTo === null;
  say(byId("rollback"), backTo ? t("Roll back to {engine}…", { engine: backTo }) : t("Roll back"));
}

async function exchange(body, done) {
  try {
    await act("/engines/exchange", body);
    toast(done);
  } catch (error) {
    toast(error.message, "bad");
  }
  await known();
}

async function load() {
  await known();
  const given = await dialog(t("Try an engine"), {
    text: t("It gets the same strip as the running engine of its task, in a process of its own at the lowest priority, and decides nothing."),
    fields: [{ name: "name", label: t("Engine"), options: available.map((name) => [name, name]) }], confirm: t("Try"),
  });
  if (given?.name) await exchange({ action: "load", name: given.name, shadow: true }, t("{engine} is being loaded.", { engine: given.name }));
}

async function promote() {
  const compared = beside.tiles ? t("Both were compared on {tiles} tiles and said the same on {share}.", { tiles: number(beside.tiles), share: percent(beside.agreed / beside.tiles) }) : t("It was not compared with the running engine.");
  const given = await dialog(t("Promote {engine}", { engine: beside.name }), { text: `${compared} ${t("From the next frame on it inspects the strip. You can roll back.")}`, confirm: t("Promote") });
  if (given) await exchange({ action: "promote" }, t("{engine} takes over.", { engine: beside.name }));
}

async function drop() {
  const given = await dialog(t("Drop {engine}", { engine: beside.name }), { text: t("The trial ends; nothing changes for the strip."), confirm: t("Drop") });
  if (given) await exchange({ action: "drop" }, t("The trial has ended."));
}

async function rollback() {
  const given = await dialog(t("Roll back to {engine}", { engine: backTo }), { text: t("From the next frame on, the engine before the newest promotion inspects the strip again."), confirm: t("Roll back"), kind: "bad" });
  if (given) await exchange({ action: "rollback" }, t("{engine} inspects again.", { engine: backTo }));
}

byId("outlines").addEventListener("click", (event) => {
  const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
  event.currentTarget.setAttribute("aria-pressed", String(on));
  byId("pairs").dataset.outlines = on ? "yes" : "no";
});
if (mayExchange) {
  byId("load").addEventListener("click", load);
  byId("rollback").addEventListener("click", rollback);
}
known();
setInterval(known, 10_000);
setInterval(lookAtPairs, LOOK_AGAIN_MS);
