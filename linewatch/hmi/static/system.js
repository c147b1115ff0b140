// The system page: what the service is made of, whether it keeps up, and what its newest faults mean.
import { ask } from "/static/ask.js";
import { byId, drawn, element, say } from "/static/dom.js";
import { follow, hostNow } from "/static/feed.js";
import { Table } from "/static/table.js";
import { N_, dateAndTime, language, number, percent, t, timeOfDay } from "/static/texts.js";

const STATES = { starting: ["warn", N_("starting")], running: ["good", N_("inspecting")], draining: ["warn", N_("ending")], failed: ["bad", N_("failed")] };
const STAGES = {
  capture: N_("capture"), cascade: N_("cascade"), decision: N_("decision"), outlet: N_("outlet"), catchup: N_("catch-up"), commands: N_("commands"),
  engine: N_("engines"), listen: N_("listen"), join: N_("join"),
};
const DOES = {
  capture: N_("frames from the camera"), cascade: N_("frames and answers"), engine: N_("batches of tiles"), decision: N_("frames decided"), outlet: N_("decisions told"),
  catchup: N_("requests answered"), commands: N_("commands answered"), listen: N_("messages heard"), join: N_("decisions joined"),
};
const STAGE_STATES = { late: N_("late"), failed: N_("failed"), starting: N_("starting"), done: N_("has ended") };
const TASKS = { screen: N_("screening"), classify: N_("classification"), segment: N_("outlines"), inspect: N_("inspection") };
const QUANTITIES = {
  light: N_("light"), gray: N_("gray level"), segment: N_("darkest lamp zone"), saturation: N_("blown out"), contrast: N_("contrast"), sharpness: N_("sharpness"),
  edge_sharpness: N_("sharpness of the edge"), fixed: N_("dirt on the lens"), frozen: N_("repeated pictures"), vibration: N_("vibration, mm"), wander: N_("wander, mm"),
};
const SHARES = new Set(["light", "segment", "saturation", "contrast", "frozen", "fixed"]);
const JOURNAL = { kept: ["good", N_("kept")], late: ["warn", N_("late")], lost: ["bad", N_("lost")] };
const BRIDGES = { serving: ["good", N_("serving")], troubled: ["bad", N_("troubled")], silent: ["bad", N_("silent")] };
const CAMERAS = { open: ["good", N_("open")], absent: ["bad", N_("absent")], lost: ["bad", N_("lost")], waiting: ["warn", N_("waiting")], inspecting: ["good", N_("inspecting")], unhealthy: ["bad", N_("unhealthy")], silent: ["bad", N_("silent")] };
const SOURCES = { encoder: N_("encoder"), line_rate: N_("line rate") };
const DAY_S = 86_400;
const OLD_DAYS = 180; // of a calibration

let meanings = {}, newest = null;
ask("/system/faults").then((found) => { meanings = found; if (newest) showFaults(newest.faults); }).catch(() => {});
follow(["status"], { state: take, news: take });
follow(["pulse"], { state: takePulse, news: takePulse });

let latencyMs = null;
function takePulse({ pulse }) { latencyMs = pulse?.latency_ms ?? null; }

function take({ status }) {
  if (!status) return;
  newest = status;
  const [kind, text] = status.healthy ? STATES[status.state] : ["bad", status.state === "failed" ? N_("failed") : N_("not inspecting")];
  byId("state").dataset.kind = kind;
  say(byId("state"), t(text));
  showFacts(status);
  showFaults(status.faults);
  showStages(status);
  showLoad(status);
  showCamera(status);
  showDisks(status);
  showPicture(status.picture);
  showBridges(status.bridges ?? []);
  showSoftware(status.software);
}

const fact = (name, value) => element("div", {}, element("dt", {}, name), element("dd", {}, value));
const tag = ([kind, text]) => element("span", { class: "tag", "data-kind": kind }, t(text));
const row = (name, value, ...below) => element("div", {}, element("div", { class: "head" }, element("span", { class: "soft" }, name), value instanceof Node ? value : element("b", {}, value)), ...below);

function showFacts(status) {
  byId("facts").replaceChildren(
    fact(t("Coverage since the start"), status.coverage === null ? "–" : percent(status.coverage)),
    fact(t("Up for"), span(status.uptime_s)),
    fact(t("Frames"), number(status.frames)),
    fact(t("Heartbeat"), number(status.heartbeat)),
    fact(t("linewatch"), status.software.linewatch ?? "–"));
}

/** A duration in its two largest units. */
function span(seconds) {
  if (seconds < 60) return t("{count} s", { count: number(seconds) });
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  if (days) return t("{days} d {hours} h", { days: number(days), hours: hours % 24 });
  return hours ? t("{hours} h {minutes} min", { hours, minutes: minutes % 60 }) : t("{count} min", { count: minutes });
}

const MARKS = { error: "M8 2h8l6 6v8l-6 6H8l-6-6V8zM12 7v6M12 16.5v.5", warning: "M12 3L22 20H2zM12 9v5M12 17v.4", over: "M4 12.5l5 5L20 6.5" };

function showFaults(faults) {
  const open = faults.filter((one) => one.over_unix_ns === null).length;
  say(byId("faults-about"), faults.length ? t("may still go on: {open}; over: {over}", { open, over: faults.length - open }) : "");
  byId("faults").replaceChildren(...(faults.length ? faults.map(fault) : [element("li", { class: "empty", "data-over": "true" }, element("span"), element("p", {}, t("None since the service started.")))]));
}

function fault(one) {
  const over = one.over_unix_ns !== null, kind = one.error ? "error" : "warning";
  const [what, remedy] = meanings[one.event] ?? [one.event.replaceAll("_", " "), ""];
  const last = timed(one.last_unix_ns), first = timed(one.first_unix_ns);
  return element("li", { "data-kind": kind, "data-over": String(over), title: one.event },
    drawn("svg", { viewBox: "0 0 24 24", role: "img", "aria-label": over ? t("over") : one.error ? t("error") : t("warning") }, drawn("path", { d: MARKS[over ? "over" : kind] })),
    element("div", {}, element("p", {}, element("b", {}, what)), remedy ? element("p", { class: over ? "soft" : "remedy" }, remedy) : null, one.text ? element("code", {}, one.text) : null),
    element("div", { class: "when" }, element("div", {}, last), one.count > 1 ? element("div", {}, t("{count} times since {time}", { count: number(one.count), time: first })) : null, over ? element("div", {}, t("over since {time}", { time: timed(one.over_unix_ns) })) : null));
}

const timed = (unixNs) => (hostNow() - unixNs / 1e6 > DAY_S * 1000 ? dateAndTime(unixNs / 1e6) : timeOfDay(unixNs / 1e6));

/** Stages with several threads are one box: the rates add up, the worst state and age count. */
function grouped(stages) {
  const groups = new Map(), of = (name) => name.replace(/-\d+$/, "");
  for (const stage of stages) {
    const name = of(stage.name), before = groups.get(name);
    const feeds = [...new Set(stage.feeds.map(of))];
    if (!before) { groups.set(name, { ...stage, name, feeds, threads: 1 }); continue; }
    before.threads += 1;
    before.per_s += stage.per_s;
    before.dropped += stage.dropped;
    before.tick_age_ms = Math.max(before.tick_age_ms, stage.tick_age_ms);
    if (stage.state in STAGE_STATES) before.state = stage.state;
  }
  return groups;
}

function showStages({ stages }) {
  const groups = grouped(stages), begins = ["capture", "listen"].find((name) => groups.has(name));
  const path = [];
  for (let name = begins; name && groups.has(name) && !path.includes(name);) { // along the strip's way
    path.push(name);
    name = [...groups.get(name).feeds].reverse().find((next) => next !== "engine" && !path.includes(next));
  }
  const engines = groups.get("engine");
  if (engines && path.includes("cascade")) path.splice(path.indexOf("cascade") + 1, 0, "engine");
  const others = [...groups.keys()].filter((name) => !path.includes(name));
  const boxes = path.flatMap((name, at) => (at ? [arrow(name === "engine"), box(groups.get(name))] : [box(groups.get(name))]));
  byId("stages").replaceChildren(
    element("div", { class: "path" }, boxes),
    others.length ? element("div", { class: "path aside" }, element("span", { class: "beside" }, t("Beside them, for consumers and operators")), others.flatMap((name, at) => (at ? [element("span", { class: "arrow" }), box(groups.get(name), true)] : [box(groups.get(name), true)]))) : "");
}

const arrow = (both) => element("span", { class: "arrow", "aria-hidden": "true" }, drawn("svg", { viewBox: "0 0 30 18" }, drawn("path", { d: both ? "M4 9h22M21 4l5 5-5 5M9 4L4 9l5 5" : "M2 9h24M21 4l5 5-5 5" })));

function box(stage, asked = false) {
  const name = t(STAGES[stage.name] ?? stage.name), share = stage.queue_size ? stage.queued / stage.queue_size : 0, age = stage.tick_age_ms / (stage.deadline_ms || 1);
  return element("div", { class: "stage", "data-state": stage.state },
    element("b", {}, stage.threads > 1 ? `${name} × ${stage.threads}` : name, stage.state in STAGE_STATES ? element("span", {}, " ", element("span", { class: "tag", "data-kind": stage.state === "done" ? "" : "bad" }, t(STAGE_STATES[stage.state]))) : null),
    element("span", { class: "rate" }, number(stage.per_s, stage.per_s < 10 ? 1 : 0), " ", element("small", {}, t("/s"), " ", t(DOES[stage.name] ?? "items"))),
    ...(asked ? [] : [element("small", {}, t("{queued} of {size} waiting", { queued: number(stage.queued), size: number(stage.queue_size) })),
      meter(share, share > 0.8 ? "bad" : share > 0.5 ? "warn" : "", t("Waiting items"))]),
    element("small", {}, t("{age} of {limit} ms", { age: number(stage.tick_age_ms), limit: number(stage.deadline_ms) })),
    meter(age, age > 1 ? "bad" : age > 0.6 ? "warn" : "", t("Time since the last sign of life")),
    stage.dropped ? element("small", {}, t("{count} dropped", { count: number(stage.dropped) })) : null);
}

/** A bar from 0 to 1; `mark` draws a limit. */
function meter(share, kind, name, mark = null) {
  const shown = Math.max(0, Math.min(1, share || 0));
  return drawn("svg", { class: "meter", "data-kind": kind, viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img", "aria-label": `${name}: ${percent(shown, 0)}` },
    drawn("rect", { x: 0, y: 0, width: shown * 100, height: 8 }), mark === null ? [] : drawn("line", { x1: mark * 100, x2: mark * 100, y1: 0, y2: 8 }));
}

function showLoad(status) {
  const ring = status.ring_slots ? 1 - status.ring_free / status.ring_slots : 0;
  const late = status.deadline_ms && latencyMs !== null ? latencyMs / status.deadline_ms : 0;
  byId("load").replaceChildren(element("div", { class: "rows" },
    row(t("Keeps up"), status.shed.length
      ? element("span", { class: "tag", "data-kind": "bad" }, t("overload: {work} left out", { work: status.shed.map((one) => t(TASKS[one])).join(", ") }))
      : tag(["good", N_("yes, nothing is left out")])),
    row(t("Frames"), t("{count}/s", { count: number(status.frames_per_s, 1) })),
    row(t("Tiles"), t("{count}/s", { count: number(status.tiles_per_s) })),
    row(t("Light to verdict"), latencyMs === null ? "–" : status.deadline_ms ? t("{latency} of {limit} ms", { latency: number(latencyMs, 0), limit: number(status.deadline_ms) }) : t("{latency} ms", { latency: number(latencyMs, 0) }),
      status.deadline_ms ? meter(late, late > 1 ? "bad" : late > 0.7 ? "warn" : "", t("Light to verdict")) : null),
    row(t("Frames under way"), t("{used} of {slots}", { used: number(status.ring_slots - status.ring_free), slots: number(status.ring_slots) }), meter(ring, ring > 0.9 ? "bad" : ring > 0.6 ? "warn" : "", t("Frames under way")))));
}

function showCamera(status) {
  const rows = [];
  for (const camera of status.cameras) rows.push(row(camera.name, tag(CAMERAS[camera.state] ?? ["", camera.state]), camera.text ? element("small", { class: "soft" }, camera.text) : null));
  const camera = status.camera_status, position = status.position, calibration = status.calibration;
  if (camera) {
    rows.push(row(camera.serial ? t("Camera {serial}", { serial: camera.serial }) : t("Camera"), tag(CAMERAS[camera.state] ?? ["", camera.state]),
      camera.why ? element("small", { class: "soft" }, camera.why) : null, camera.times_lost ? element("small", { class: "soft" }, t("lost {count} times since the start", { count: number(camera.times_lost) })) : null));
  }
  if (position) {
    rows.push(row(t("Positions"), position.fault ? element("span", { class: "tag", "data-kind": "bad" }, t("encoder not trusted: {fault}", { fault: position.fault })) : element("b", {}, t(SOURCES[position.source] ?? position.source))));
  }
  if (calibration) {
    rows.push(row(t("Calibration"), calibration.trouble ? tag(["bad", N_("cannot be used")]) : element("b", {}, calibration.identity || t("none is applied")), calibration.trouble ? element("small", { class: "soft" }, calibration.trouble) : null));
    for (const [part, madeNs] of Object.entries(calibration.made_unix_ns)) {
      const days = (hostNow() - madeNs / 1e6) / 864e5;
      rows.push(row(`– ${part.replaceAll("_", " ")}`, element("span", { class: "tag", "data-kind": days > OLD_DAYS ? "warn" : "good" }, days < 1 ? t("made today") : t("{days} days old", { days: number(days) }))));
    }
  } else if (camera) rows.push(row(t("Calibration"), t("none: frames are inspected as they come")));
  if (status.clock) rows.push(row(t("Clock"), status.clock.synchronised === null ? t("not known") : tag(status.clock.synchronised ? ["good", N_("synchronised")] : ["warn", N_("not synchronised")])));
  byId("camera").replaceChildren(element("div", { class: "rows" }, rows));
}

function showDisks(status) {
  const rows = [], journal = status.journal;
  if (journal) rows.push(row(t("Journal"), tag(JOURNAL[journal.state]), journal.why ? element("small", { class: "soft" }, journal.why) : null,
    journal.held ? element("small", { class: "soft" }, t("{count} messages wait in memory, {mb} MB", { count: number(journal.held), mb: number(journal.held_mb, 1) })) : null,
    journal.dropped ? element("small", {}, t("{count} messages are in no journal", { count: number(journal.dropped) })) : null));
  else rows.push(row(t("Journal"), t("a replay")));
  for (const disk of status.disks) {
    const used = disk.size_mb ? 1 - disk.free_mb / disk.size_mb : 0, low = disk.low_mb !== null && disk.free_mb < disk.low_mb;
    rows.push(row(diskName(disk.name), t("{free} GB free of {size} GB", { free: number(disk.free_mb / 1024, 1), size: number(disk.size_mb / 1024, 0) }),
      meter(used, low ? "bad" : used > 0.9 ? "warn" : "", diskName(disk.name), disk.low_mb === null ? null : Math.max(0, 1 - disk.low_mb / disk.size_mb))));
  }
  if (!status.disks.length) rows.push(row(t("Disks"), t("not measured yet")));
  if (status.crops) rows.push(row(t("Pictures of defects"), t("{made} made, {waiting} wait, {none} without", { made: number(status.crops.made), waiting: number(status.crops.waiting), none: number(status.crops.not_made) })));
  if (status.untold) rows.push(row(t("Decisions that could not be told"), number(status.untold)));
  byId("disks").replaceChildren(element("div", { class: "rows" }, rows));
}

const diskName = (name) => (name === "the journal's disk" ? t("Disk of the journal") : name.replace(/^the disk of /, ""));

const shown = (one, value) => (value === null ? "–" : SHARES.has(one.quantity) ? percent(value) : number(value, Math.abs(value) < 10 ? 2 : 0));
const pictureTable = new Table([
  { key: "quantity", title: t("Quantity"), value: (one) => t(QUANTITIES[one.quantity] ?? one.quantity) },
  { key: "bad", title: t("State"), value: (one) => (one.bad === null ? 1 : one.bad ? 0 : 2), show: (one) => tag(one.bad === null ? ["", N_("not known yet")] : one.bad ? ["bad", N_("beyond its limit")] : ["good", N_("good")]) },
  { key: "value", title: t("Now"), number: true, show: (one) => shown(one, one.value) },
  { key: "reference", title: t("Was"), number: true, show: (one) => shown(one, one.reference) },
  { key: "limit", title: t("Limit"), number: true, show: (one) => `${one.high ? "<" : ">"} ${shown(one, one.limit)}` },
  { key: "limit_in_h", title: t("At its limit in"), number: true, show: (one) => (one.limit_in_h === null ? "–" : t("{hours} h", { hours: number(one.limit_in_h, one.limit_in_h < 10 ? 1 : 0) })) },
  { key: "place", title: t("Where"), value: (one) => one.place },
], { rowKey: (one) => one.quantity });
const REFERENCES = { learning: N_("the reference is being learned"), first_metres: N_("compared with the first metres since the start"), calibration: N_("compared with the camera's flat field") };

function showPicture(picture) {
  say(byId("picture-about"), picture ? t(REFERENCES[picture.reference] ?? picture.reference) : "");
  if (!picture) { byId("picture").replaceChildren(element("p", { class: "soft" }, t("No frame has been measured yet."))); return; }
  if (!byId("picture").contains(pictureTable.node)) byId("picture").replaceChildren(pictureTable.node);
  pictureTable.show(picture.readings);
}

function showBridges(bridges) {
  byId("bridges").replaceChildren(bridges.length ? element("div", { class: "rows" }, bridges.map((one) => row(one.name === one.protocol ? one.name : `${one.name} (${one.protocol})`, tag(BRIDGES[one.health] ?? ["", one.health]),
    element("small", { class: "soft" }, [t("{count} connected", { count: number(one.peers) }), one.waiting ? t("{count} wait", { count: number(one.waiting) }) : "", one.dropped ? t("{count} dropped", { count: number(one.dropped) }) : "", one.text ?? ""].filter(Boolean).join(" · "))))) : element("p", { class: "soft" }, t("No bridge has reported.")));
}

let softwareShown = "";
function showSoftware(software) {
  const key = JSON.stringify(software);
  if (key === softwareShown) return;
  softwareShown = key;
  const names = Object.keys(software).sort((a, b) => (a === "linewatch" ? -1 : b === "linewatch" ? 1 : a.localeCompare(b, language)));
  byId("software").replaceChildren(element("div", { class: "rows" }, names.map((name) => row(name, software[name]))));
}
