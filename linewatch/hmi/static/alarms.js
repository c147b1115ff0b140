// The alarms page: standing alarms, the most urgent first; what is held back, until when, by whom and why.
import { act, mayAct } from "/static/ask.js";
import { dialog, toast } from "/static/dialog.js";
import { byId, element, say } from "/static/dom.js";
import { follow, hostNow } from "/static/feed.js";
import { PRIORITIES, byUrgency, priorityMark, priorityName } from "/static/priority.js";
import { dateAndTime, number, t, timeOfDay } from "/static/texts.js";

const DAY_MS = 86_400_000;
const alarms = new Map();
const lines = new Map(); // by id: the line as shown, and what it was made from

follow(["alarms"], {
  state({ alarms: all }) {
    alarms.clear();
    for (const alarm of all ?? []) alarms.set(alarm.id, alarm);
    show();
  },
  news({ alarms: changed }) {
    if (!changed) return;
    for (const alarm of changed) {
      if (alarm.retain) alarms.set(alarm.id, { ...alarm, ...seen(alarm) });
      else alarms.delete(alarm.id);
    }
    show();
  },
});

/** What an earlier transition told and this one does not: who acknowledged, and since when it stands. */
function seen(alarm) {
  const before = alarms.get(alarm.id);
  return {
    since_unix_ms: alarm.since_unix_ms ?? before?.since_unix_ms ?? alarm.at_unix_ms,
    acknowledged: alarm.change === "acknowledged" && alarm.command ? alarm.command : before?.acknowledged,
  };
}

const asking = () => [...alarms.values()].filter((alarm) => alarm.state === "raised").sort(byUrgency);
const held = () => [...alarms.values()].filter((alarm) => alarm.state !== "raised").sort(byUrgency);

function show() {
  const standing = asking(), open = standing.filter((alarm) => !alarm.acked_state);
  byId("priorities").replaceChildren(...PRIORITIES.map((priority) => {
    const of = standing.filter((alarm) => alarm.priority === priority).length;
    return element("li", { "data-none": String(of === 0) }, priorityMark(priority), element("b", {}, String(of)), element("span", {}, priorityName(priority)));
  }));
  say(byId("standing-about"), standing.length
    ? t("{open} of {all} wait to be acknowledged", { open: open.length, all: standing.length })
    : "");
  const button = byId("acknowledge-all");
  button.disabled = open.length === 0;
  for (const id of lines.keys()) if (!alarms.has(id)) lines.delete(id);
  fill(byId("standing"), standing, t("No alarm stands."));
  fill(byId("held"), held(), t("Nothing is shelved or suppressed."));
}

/** Show these alarms. A line that has not changed stays where it is: whoever presses its button meanwhile presses it. */
function fill(list, found, empty) {
  const wanted = found.map(line);
  if (!wanted.length) wanted.push(list.querySelector(":scope > .empty") ?? element("li", { class: "empty" }, empty));
  const from = focusedIn(list), of = from?.closest("li"), at = [...list.children].indexOf(of);
  for (const one of [...list.children]) if (!wanted.includes(one)) one.remove();
  wanted.forEach((one, at) => { if (list.children[at] !== one) list.insertBefore(one, list.children[at] ?? null); });
  if (from && !list.contains(document.activeElement)) {
    const same = lines.get(of?.dataset.id)?.node.querySelector(`[data-does="${from.dataset.does}"]:not(:disabled)`);
    const next = list.children[Math.min(at, list.children.length - 1)]?.querySelector("button:not(:disabled)");
    (same ?? next ?? byId("main")).focus({ preventScroll: true });
  }
}

let lastFocused = null;
document.addEventListener("focusin", ({ target }) => { lastFocused = target; });

/** The element of a list that has the focus, or had it until it was disabled while its order is carried out. */
function focusedIn(list) {
  if (list.contains(document.activeElement)) return document.activeElement;
  return document.activeElement === document.body && lastFocused?.disabled && list.contains(lastFocused) ? lastFocused : null;
}

function line(alarm) {
  const from = JSON.stringify(alarm), before = lines.get(alarm.id);
  if (before?.from === from) return before.node;
  const node = made(alarm);
  lines.set(alarm.id, { from, node });
  return node;
}

function made(alarm) {
  const shelf = alarm.id === alarm.rule && !alarm.active_state;
  return element("li", { class: "alarm", "data-id": alarm.id, "data-priority": alarm.priority, "data-open": String(alarm.state === "raised" && !alarm.acked_state) },
    priorityMark(alarm.priority),
    element("div", { class: "what" }, element("b", {}, alarm.rule.replaceAll("-", " ")), element("span", {}, shelf ? alarm.command?.comment || t("shelved without a reason") : plain(alarm)), about(alarm, shelf)),
    element("div", { class: "state" }, ...states(alarm)),
    mayAct ? element("div", { class: "does" }, ...doings(alarm, shelf)) : null);
}

/** The alarm's text without the rule's name, which stands before it. */
const plain = (alarm) => (alarm.text.startsWith(`${alarm.rule}: `) ? alarm.text.slice(alarm.rule.length + 2) : alarm.text);

function about(alarm, shelf) {
  const parts = [];
  if (alarm.since_unix_ms) parts.push(element("time", { "data-since": alarm.since_unix_ms }, t("since {time}", { time: when(alarm.since_unix_ms) })));
  if (alarm.coil && !shelf) {
    parts.push(element("span", {}, t("coil {coil} at {metres} m", { coil: alarm.coil, metres: number(alarm.along_mm / 1000, 2) })));
    if (alarm.side) parts.push(element("span", {}, `${alarm.side} · ${alarm.camera}`));
  }
  if (alarm.count) parts.push(element("span", {}, t("{count} alarms", { count: alarm.count })));
  return element("small", { class: "soft parts" }, parts);
}

function states(alarm) {
  const found = [];
  if (alarm.shelving_state !== "unshelved") {
    const until = alarm.shelved_until_unix_ns ? when(alarm.shelved_until_unix_ns / 1e6) : "–";
    found.push(element("span", { class: "tag", "data-kind": "warn" }, alarm.shelving_state === "timed_shelved" ? t("shelved until {time}", { time: until }) : t("shelved until it is over, {time} at the latest", { time: until })));
    const by = alarm.command?.action === "shelve" ? alarm.command : null;
    if (by) found.push(element("small", { class: "soft" }, byWhom(by, alarm.id !== alarm.rule)));
  }
  if (alarm.suppressed_state) found.push(element("span", { class: "tag" }, t("suppressed")));
  if (alarm.state === "raised") {
    const by = alarm.acknowledged ?? (alarm.command?.action === "acknowledge" ? alarm.command : null);
    found.push(alarm.acked_state
      ? element("span", { class: "tag", "data-kind": "good" }, t("acknowledged"))
      : element("span", { class: "tag", "data-kind": "bad" }, t("to acknowledge")));
    if (alarm.acked_state && by) found.push(element("small", { class: "soft" }, byWhom(by)));
  }
  return found;
}

function byWhom(command, why = true) {
  const who = command.said_by || command.by || t("nobody named"), at = timeOfDay(command.at_unix_ns / 1e6);
  return command.comment && why ? t("{who}, {time}: {reason}", { who, time: at, reason: command.comment }) : t("{who}, {time}", { who, time: at });
}

const when = (unixMs) => (hostNow() - unixMs > DAY_MS || unixMs - hostNow() > DAY_MS ? dateAndTime(unixMs) : timeOfDay(unixMs));

function doings(alarm, shelf) {
  const found = [];
  const button = (does, text, doing, kind = null) => element("button", { type: "button", class: kind, "data-does": does, onclick: doing, "aria-label": `${text}: ${alarm.rule}` }, text);
  if (alarm.active_state && !alarm.acked_state) found.push(button("acknowledge", t("Acknowledge"), () => acknowledge([alarm]), "main"));
  if (alarm.shelving_state === "unshelved") found.push(button("shelve", t("Shelve…"), () => shelve(alarm)));
  else if (shelf) found.push(button("unshelve", t("Unshelve"), () => unshelve(alarm)));
  return found;
}

async function acknowledge(wanted) {
  for (const alarm of wanted) lines.get(alarm.id)?.node.setAttribute("aria-busy", "true");
  try {
    const { changed } = await act("/alarms/acknowledge", { alarms: wanted.map((alarm) => alarm.id) });
    toast(changed ? t("Acknowledged.") : t("Somebody else was faster: it is acknowledged already."));
  } catch (error) {
    toast(error.message, "bad");
  }
  for (const alarm of wanted) lines.get(alarm.id)?.node.removeAttribute("aria-busy");
}

async function shelve(alarm) {
  const given = await dialog(t("Shelve {rule}", { rule: alarm.rule }), {
    text: t("Until then, the rule asks nobody, on no panel. What it raises meanwhile is in the journal."),
    fields: [
      { name: "minutes", label: t("For how long"), value: "30", options: [["10", t("10 minutes")], ["30", t("30 minutes")], ["60", t("1 hour")], ["120", t("2 hours")], ["480", t("8 hours, a shift")], ["", t("until it is over")]] },
      { name: "comment", label: t("Reason"), required: true, maxlength: 200, autocomplete: "off" },
    ],
    confirm: t("Shelve"),
  });
  if (!given) return;
  await tried(async () => {
    const { until_unix_ms: until } = await act("/alarms/shelve", { alarm: alarm.rule, minutes: given.minutes ? Number(given.minutes) : null, comment: given.comment });
    toast(until ? t("Shelved until {time}.", { time: when(until) }) : t("Shelved."));
  });
}

const unshelve = (alarm) => tried(async () => {
  await act("/alarms/unshelve", { alarm: alarm.rule });
  toast(t("It asks again."));
});

async function tried(doing) {
  try { await doing(); } catch (error) { toast(error.message, "bad"); }
}

byId("acknowledge-all").addEventListener("click", async () => {
  const open = asking().filter((alarm) => !alarm.acked_state);
  const given = await dialog(t("Acknowledge {count} alarms", { count: open.length }), { text: t("You say that you have seen all of them: {rules}.", { rules: [...new Set(open.map((one) => one.rule))].join(", ") }), confirm: t("Acknowledge all") });
  if (given) await acknowledge(open);
});
