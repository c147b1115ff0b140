// The stream of what happens, for all of a page: one socket, made again when it breaks, and the truth about its age.
//
//   follow(["defects"], { state(parts) { ... }, news(parts) { ... } })
//
// `state` comes first, and again whenever the page missed something or a coil began; `news` brings what has changed.
// parts: by topic, see TOPICS in linewatch/hmi/feed/live_view.py. `onLink` tells whether what is shown is live.

/** After so long without a message nothing is shown as live. */
const STALE_MS = 1500;
const AGAIN_MS = [200, 500, 1000, 2000];

const followers = [];
let connecting = null;
const linkListeners = [];
let socket = null, topics = new Set(), tries = 0, heardMs = 0, link = { kind: "waiting", since: Date.now() }, behindMs = 0;

/** Follow some topics. */
export function follow(wanted, handlers) {
  followers.push(handlers);
  for (const topic of wanted) topics.add(topic);
  if (socket) socket.onmessage = socket.onclose = null; // it lacks these topics, and its state would be none for them
  clearTimeout(connecting); // once for all scripts of the page; each of them gets the state
  connecting = setTimeout(connect, 20);
}

/** Call `listener({kind, since, failure})` now and with each change. kind: live, lost, or the service's state. */
export function onLink(listener) {
  linkListeners.push(listener);
  listener(link);
}

export const linkNow = () => link;

/** Milliseconds since 1970 by the clock of the page's host. */
export const hostNow = () => Date.now() + behindMs;

function connect() {
  clearTimeout(connecting);
  if (socket) { socket.onclose = socket.onmessage = null; socket.close(); }
  const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/feed?topics=${[...topics].join(",")}`;
  socket = new WebSocket(url);
  socket.onmessage = (event) => take(JSON.parse(event.data));
  socket.onclose = (event) => {
    socket = null;
    if (event.code === 4401) { location.reload(); return; }
    connecting = setTimeout(connect, AGAIN_MS[Math.min(tries++, AGAIN_MS.length - 1)]);
  };
}

function take(message) {
  tries = 0;
  heardMs = Date.now();
  behindMs = message.at_unix_ms - heardMs;
  const parts = message.state ?? message.news;
  for (const one of followers) (message.state ? one.state : one.news)?.(parts);
  const pulse = parts.pulse;
  if (pulse) setLink(pulse.service === "running" ? "live" : pulse.service, pulse.failure);
  else if (message.state && message.silent) setLink("silent");
}

function setLink(kind, failure = null) {
  if (kind === link.kind && failure === link.failure) return;
  link = { kind, failure, since: Date.now() };
  document.documentElement.dataset.link = kind === "draining" || kind === "catching_up" ? "live" : kind;
  for (const listener of linkListeners) listener(link);
}

setInterval(() => { if (heardMs && Date.now() - heardMs > STALE_MS) setLink("lost"); }, 200);
addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
