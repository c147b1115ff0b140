// Requests of a page to its own server.

async function asked(path, options) {
  const response = await fetch(path, { credentials: "same-origin", ...options });
  if (response.status === 401) { location.reload(); return new Promise(() => {}); }
  const found = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(found.error ?? `${response.status}`);
  return found;
}

/** What a page's `Data` answers, as JSON. Throws an Error whose message is for people. */
export function ask(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given).toString();
  return asked(search ? `${path}?${search}` : path, {});
}

/** Carry out a page's `Action` with this JSON object. Throws an Error whose message is for people. */
export function act(path, body = {}) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": document.documentElement.dataset.csrf };
  return asked(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Whether this person may handle alarms and coils, and the page can send commands. */
export const mayAct = document.documentElement.dataset.mayAct === "yes";
