// Dialogs and short messages.
import { byId, element } from "/static/dom.js";
import { t } from "/static/texts.js";

/** Show a short message. kind: "good" or "bad"; a bad one stays longer. */
export function toast(text, kind = "good") {
  const shown = element("div", { class: "toast", "data-kind": kind }, text);
  byId("toasts").append(shown);
  setTimeout(() => shown.remove(), kind === "bad" ? 9000 : 3500);
}

/**
 * Ask something. fields: `[{ name, label, type, value, options, required, ... }]`, attributes of inputs; `options` makes
 * a choice. Returns the values by name, or null where the person gave up.
 */
export function dialog(title, { text = "", fields = [], confirm = t("OK"), kind = "main" } = {}) {
  const inputs = fields.map(({ name, label, options, value = "", ...more }) => {
    const input = options
      ? element("select", { name, ...more }, options.map(([code, words]) => element("option", { value: code, selected: code === value }, words)))
      : element("input", { name, value, ...more });
    return element("label", {}, label, input);
  });
  const give = element("button", { class: kind, value: "yes" }, confirm);
  const form = element("form", { method: "dialog" }, element("h2", {}, title), text ? element("p", {}, text) : null, inputs,
    element("footer", {}, element("button", { value: "no", formnovalidate: true, type: "button", onclick: () => shown.close("no") }, t("Cancel")), give));
  const shown = element("dialog", { "aria-label": title }, form);
  document.body.append(shown);
  shown.showModal();
  return new Promise((done) => {
    shown.addEventListener("close", () => {
      const values = Object.fromEntries(new FormData(form));
      shown.remove();
      done(shown.returnValue === "yes" ? values : null);
    });
  });
}
