// The live page.
import { byId, element, say } from "/static/dom.js";
import { follow, onLink } from "/static/feed.js";
import { CameraView } from "/static/camera_view.js";
import { mark, words } from "/static/palette.js";
import { StripMap } from "/static/strip_map.js";
import { number, percent, t, timeOfDay } from "/static/texts.js";

const NEWEST = 40;
const QUALITIES = { inspected: "good", degraded: "warn", missed: "bad" };

const canvas = byId("map"), tip = byId("tip");
const map = new StripMap(canvas, {
  onPoint: (found, x, y) => showTip(found, x, y),
  onPick: (defect) => showDefect(defect),
  onView: () => showView(),
});

// the facts above the map

let coil = null;

function showPulse(pulse) {
  if (!pulse) return;
  map.speedMmPerS = pulse.speed_m_per_s === null ? 0 : pulse.speed_m_per_s * 1000;
  say(byId("coil"), pulse.coil ?? t("none"));
  say(byId("along"), number(pulse.along_mm / 1000, 1));
  say(byId("speed"), number(pulse.speed_m_per_s, 2));
  say(byId("coverage"), percent(pulse.coverage, 2));
  say(byId("frames"), number(pulse.frames_per_s, 1));
  say(byId("latency"), number(pulse.latency_ms, 0));
  say(byId("standing"), number(pulse.alarms));
  byId("standing").dataset.kind = pulse.alarms ? "bad" : "";
  const stands = pulse.speed_m_per_s === 0 && pulse.service === "running";
  const quality = byId("quality");
  say(quality, stands ? t("strip stands") : t(words(pulse.quality)));
  quality.dataset.kind = stands ? "" : QUALITIES[pulse.quality];
}

function showCoil(newest) {
  coil = newest ?? coil;
  const data = coil?.data;
  say(byId("product"), [data?.product, data?.steel_grade, data?.thickness_mm && `${number(data.thickness_mm, 2)} mm`].filter(Boolean).join(" · ") || (coil?.recipe ?? t("default settings")));
  const ended = coil?.state === "ended";
  byId("ended").hidden = !ended;
  if (ended) say(byId("ended"), `${t("Coil ended")}${coil.grade ? ` · ${t("grade {grade}", { grade: coil.grade.grade })}` : ""}`);
}

// what was found

const newest = new Map();

function take(defects) {
  for (const defect of defects) {
    newest.delete(defect.id);
    if (!defect.gone && !defect.tentative) newest.set(defect.id, { ...defect, heard: Date.now() });
  }
  while (newest.size > NEWEST) newest.delete(newest.keys().next().value);
}

let listed = "";
function showNewest() {
  const rows = [...newest.values()].reverse();
  const key = rows.map((one) => `${one.id}${one.along_mm[1]}${one.severity}${map.selected === one.id}`).join();
  if (key === listed) return;
  listed = key;
  byId("newest").replaceChildren(...rows.map((one) => element("tr", { tabindex: "0", "data-id": one.id, "aria-selected": String(map.selected === one.id),
    onclick: () => pick(one.id), onkeydown: (event) => { if (event.key === "Enter") pick(one.id); } },
    element("td", {}, mark(one.class), " ", t(words(one.class))),
    element("td", { class: "number" }, one.severity ?? "–"),
    element("td", { class: "number" }, number(one.along_mm[0] / 1000, 2)),
    element("td", { class: "number" }, number((one.across_mm[0] + one.across_mm[1]) / 2)),
    element("td", { class: "number" }, percent(one.probability, 0)))));
  byId("no-defects").hidden = rows.length > 0;
}

function showCounts() {
  const counts = new Map();
  let tentative = 0;
  for (const one of map.model.defects.values()) {
    if (one.tentative) tentative++; else counts.set(one.class, (counts.get(one.class) ?? 0) + 1);
  }
  const items = [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => element("li", {}, mark(name), `${t(words(name))} ${number(count)}`));
  if (tentative) items.push(element("li", { class: "soft" }, mark("tentative", true), `${t("tentative, hollow")} ${number(tentative)}`));
  byId("classes").replaceChildren(...items);
  const total = [...counts.values()].reduce((sum, one) => sum + one, 0);
  say(byId("defects"), number(total));
}

function showRollMarks() {
  const marks = [...map.model.rollMarks.values()];
  byId("roll-marks").hidden = !marks.length;
  byId("roll-list").replaceChildren(...marks.map((one) => element("tr", {},
    element("td", {}, one.suspects[0] ? one.suspects.map((roll) => `${roll.roll} ${number(100 * roll.share)} %`).join(", ") : t("no configured roll fits")),
    element("td", { class: "number" }, `${number(one.pitch_mm)} ± ${number(one.pitch_error_mm, 1)}`),
    element("td", { class: "number" }, `${number(one.marks)} / ${number(one.marks_due)}`),
    element("td", { class: "number" }, `${number(one.along_mm[0] / 1000, 1)} – ${number(one.along_mm[1] / 1000, 1)}`))));
}

// one defect

function pick(id) {
  const defect = map.model.defects.get(id);
  if (defect) { map.show(defect); showDefect(defect); }
}

function showDefect(defect) {
  map.selected = defect.id;
  const panel = byId("defect");
  panel.hidden = false;
  byId("defect-mark").replaceChildren(mark(defect.class, defect.tentative));
  say(byId("defect-class"), t(words(defect.class)));
  const facts = [
    [t("Severity"), defect.tentative ? t("tentative") : defect.severity ?? "–"],
    [t("Probability"), percent(defect.probability, 0)],
    [t("From the head"), `${number(defect.along_mm[0] / 1000, 2)} m`],
    [t("Across"), `${number(defect.across_mm[0])} – ${number(defect.across_mm[1])} mm`],
    [t("Size"), `${number(defect.along_mm[1] - defect.along_mm[0])} × ${number(defect.across_mm[1] - defect.across_mm[0])} mm`],
    [t("Camera"), `${defect.side}/${defect.camera}`],
  ];
  byId("defect-facts").replaceChildren(...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))));
  const picture = byId("defect-picture");
  picture.hidden = true;
  byId("defect-none").hidden = true;
  picture.onload = () => { picture.hidden = false; };
  picture.onerror = () => { byId("defect-none").hidden = false; };
  picture.src = `/live/crop?${new URLSearchParams({ defect: defect.id, of: defect.closed ? "closed" : String(Date.now()) })}`;
  picture.alt = t("Picture of the defect: {class}", { class: t(words(defect.class)) });
  say(byId("said"), `${t(words(defect.class))}, ${facts.map(([name, value]) => `${name} ${value}`).join(", ")}`);
  listed = "";
}

byId("defect-close").addEventListener("click", () => { byId("defect").hidden = true; map.selected = null; listed = ""; canvas.focus(); });

function showTip(found, x, y) {
  const text = tipText(found);
  tip.hidden = !text;
  canvas.style.cursor = found?.defect ? "pointer" : "grab";
  if (!text) return;
  say(tip, text);
  const wide = canvas.clientWidth;
  tip.style.left = `${Math.min(x + 14, wide - 240)}px`;
  tip.style.top = `${y + 16}px`;
}

function tipText(found) {
  if (found?.defect) {
    const { along_mm: along, across_mm: across, severity, tentative, probability, class: name } = found.defect;
    return `${t(words(name))}${tentative ? ` (${t("tentative")})` : severity === null ? "" : ` · ${t("severity {n}", { n: severity })}`} · ${percent(probability, 0)} · ${number(along[0] / 1000, 2)} m · ${number(across[0])} – ${number(across[1])} mm`;
  }
  if (found?.stretch) {
    const [begin, end, quality, cause, side] = found.stretch;
    return `${t(words(quality))}: ${t(words(cause))}${side ? ` (${t(words(side))})` : ""} · ${number(begin / 1000, 2)} – ${number(end / 1000, 2)} m`;
  }
  return "";
}

// the view

function showView() {
  byId("follow").setAttribute("aria-pressed", String(map.following));
  for (const button of document.querySelectorAll("[data-span]")) button.setAttribute("aria-pressed", String(Number(button.dataset.span) * 1000 === map.spanMm));
}
byId("follow").addEventListener("click", () => map.follow(true));
byId("in").addEventListener("click", () => map.zoom(-1, canvas.clientWidth / 2));
byId("out").addEventListener("click", () => map.zoom(1, canvas.clientWidth / 2));
byId("whole").addEventListener("click", () => map.wholeCoil());
for (const button of document.querySelectorAll("[data-span]")) button.addEventListener("click", () => map.setSpan(Number(button.dataset.span) * 1000));
addEventListener("themechange", () => { map.readColours(); listed = ""; showNewest(); showCounts(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => map.readColours());
showView();

// cameras

const places = new Map();
for (const name of byId("cameras").dataset.cameras.split(" ")) {
  const view = new CameraView(name, { onPlace: (about) => { places.set(`${about.side}/${about.camera}`, about); map.setCameras(places.size > 1 ? [...places.values()] : []); } });
  byId("cameras").append(view.node);
}

// the stream

let changed = true;
onLink(({ kind }) => {
  map.live = kind === "live";
  byId("stale").hidden = ["live", "waiting", "draining", "catching_up"].includes(kind);
});
follow(["pulse", "coil", "strip", "defects", "roll_marks", "status"], {
  state(parts) {
    coil = null;
    newest.clear();
    if (parts.status?.cameras.length) map.model.setSides([...new Set(parts.status.cameras.map((one) => one.name.split("/")[0]))].sort().reverse());
    map.begin(parts);
    take(parts.defects.slice(-NEWEST * 2));
    showPulse(parts.pulse);
    showCoil(parts.coil);
    changed = true;
  },
  news(parts) {
    showPulse(parts.pulse);
    if (parts.coil) showCoil(parts.coil);
    if (parts.strip || parts.defects || parts.roll_marks) map.add(parts);
    if (parts.defects) { take(parts.defects); changed = true; }
    if (parts.roll_marks) changed = true;
  },
});
setInterval(() => {
  if (!changed) return;
  changed = false;
  showNewest();
  showCounts();
  showRollMarks();
}, 200);

// For whoever measures: what the map has drawn, and when a defect came.
window.stripMap = map;
window.defectsOnPage = () => map.model.defects.size;
