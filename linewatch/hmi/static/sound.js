// The sound of alarms that nobody has acknowledged, on every page. It is switched on for each panel, since browsers let
// a page sound only after a touch; silencing lasts until another alarm comes.
import { byId, say } from "/static/dom.js";
import { follow } from "/static/feed.js";
import { PRIORITIES, priorityName } from "/static/priority.js";
import { t } from "/static/texts.js";

/** Each priority: beeps in a row, their pitch in Hz, and the pause behind them in ms. */
const PATTERNS = { urgent: [4, 988, 700], high: [3, 784, 2500], medium: [2, 659, 6000], low: [1, 523, 15_000] };
const BEEP_S = 0.14, GAP_S = 0.1, VOLUME = 0.22;

const root = document.documentElement, toggle = byId("sound"), silence = byId("silence");
const alarms = new Map();
let on = localStorage.getItem("sound") === "on", silenced = new Set(), context = null, timer = null;

follow(["alarms"], {
  state({ alarms: all }) {
    alarms.clear();
    for (const alarm of all ?? []) alarms.set(alarm.id, alarm);
    look();
  },
  news({ alarms: changed }) {
    if (!changed) return;
    for (const alarm of changed) { if (alarm.retain) alarms.set(alarm.id, alarm); else alarms.delete(alarm.id); }
    look();
  },
});

const open = () => [...alarms.values()].filter((alarm) => alarm.state === "raised" && !alarm.acked_state);

/** The most urgent alarm that should sound now; null: none. */
function loudest() {
  const found = open().filter((alarm) => !silenced.has(alarm.id)).map((alarm) => PRIORITIES.indexOf(alarm.priority));
  return on && found.length ? PRIORITIES[Math.min(...found)] : null;
}

function look() {
  const ids = new Set(open().map((alarm) => alarm.id));
  silenced = new Set([...silenced].filter((id) => ids.has(id)));
  const priority = loudest();
  root.dataset.sounding = priority ?? "";
  toggle.setAttribute("aria-pressed", String(on));
  toggle.title = on ? t("Sound of alarms: on") : t("Sound of alarms: off");
  silence.hidden = priority === null;
  say(silence, t("Silence"));
  silence.title = priority ? t("An alarm of priority {priority} is not acknowledged", { priority: priorityName(priority) }) : "";
  if (priority !== null && timer === null) sound();
}

function sound() {
  const priority = loudest();
  timer = null;
  if (priority === null) return;
  const [beeps, pitch, pauseMs] = PATTERNS[priority];
  if (context?.state === "running") {
    for (let i = 0; i < beeps; i++) beep(context.currentTime + i * (BEEP_S + GAP_S), pitch);
  }
  timer = setTimeout(sound, beeps * (BEEP_S + GAP_S) * 1000 + pauseMs);
}

function beep(at, pitch) {
  const tone = new OscillatorNode(context, { type: "triangle", frequency: pitch });
  const gain = new GainNode(context, { gain: 0 });
  gain.gain.setValueAtTime(0, at);
  gain.gain.linearRampToValueAtTime(VOLUME, at + 0.015);
  gain.gain.setValueAtTime(VOLUME, at + BEEP_S - 0.03);
  gain.gain.linearRampToValueAtTime(0, at + BEEP_S);
  tone.connect(gain).connect(context.destination);
  tone.start(at);
  tone.stop(at + BEEP_S);
}

/** A browser lets a page sound from the first touch or key on. */
function wake() {
  if (!on) return;
  context ??= new AudioContext();
  context.resume();
}

toggle.addEventListener("click", () => {
  on = !on;
  localStorage.setItem("sound", on ? "on" : "off");
  silenced.clear();
  wake();
  look();
});
silence.addEventListener("click", () => {
  silenced = new Set(open().map((alarm) => alarm.id));
  look();
});
addEventListener("pointerdown", wake);
addEventListener("keydown", wake);
look();
