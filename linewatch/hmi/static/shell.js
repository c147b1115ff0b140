// What every page has: the state of the connection, the clock, theme, language, and the menu on small screens.
import { byId, say } from "/static/dom.js";
import { follow, hostNow, onLink } from "/static/feed.js";
import { N_, t, timeOfDay } from "/static/texts.js";

const root = document.documentElement;
const YEAR_S = 31_536_000;
const remember = (name, value) => { document.cookie = `${name}=${value}; path=/; max-age=${YEAR_S}; samesite=strict`; };

const LINKS = {
  waiting: ["", N_("connecting"), ""],
  live: ["good", N_("live"), ""],
  starting: ["warn", N_("starting"), N_("The service is starting. The strip is not inspected yet.")],
  draining: ["warn", N_("ending"), N_("The service is ending.")],
  catching_up: ["warn", N_("catching up"), ""],
  failed: ["bad", N_("failed"), N_("The service failed: {failure}. Nobody is inspecting the strip.")],
  unhealthy: ["bad", N_("not inspecting"), N_("The service does not inspect: {failure}. Values are from {time}.")],
  silent: ["bad", N_("service silent"), N_("The service is silent since {time}: nobody may be inspecting the strip. Values are from then.")],
  lost: ["bad", N_("connection lost"), N_("The connection to this page's server is lost since {time}. Values are from then.")],
};

onLink(({ kind, failure, since }) => {
  const [colour, word, text] = LINKS[kind] ?? LINKS.waiting;
  const pill = byId("link"), banner = byId("banner");
  pill.dataset.kind = colour;
  say(pill, t(word));
  banner.hidden = !text;
  banner.dataset.kind = colour;
  say(banner, text ? t(text, { failure: failure ?? "–", time: timeOfDay(since) }) : "");
});

const count = byId("alarm-count");
const pulse = ({ pulse: newest }) => {
  if (!newest || !count) return;
  count.hidden = !newest.unacknowledged;
  say(count, String(newest.unacknowledged));
};
follow(["pulse"], { state: pulse, news: pulse });

setInterval(() => say(byId("clock"), timeOfDay(hostNow())), 250);

byId("theme").addEventListener("click", () => {
  const dark = root.dataset.theme === "dark" || (root.dataset.theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
  remember("theme", root.dataset.theme);
  dispatchEvent(new Event("themechange"));
});
byId("language").addEventListener("change", (event) => { remember("language", event.target.value); location.reload(); });
byId("menu").addEventListener("click", (event) => {
  const open = byId("nav").classList.toggle("open");
  event.currentTarget.setAttribute("aria-expanded", String(open));
});
