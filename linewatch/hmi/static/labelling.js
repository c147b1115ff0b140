// What people say of a defect: right, not a defect, or another class, with one key each; and taking it back.
import { act } from "/static/ask.js";
import { element } from "/static/dom.js";
import { dialog } from "/static/dialog.js";
import { words } from "/static/palette.js";
import { t } from "/static/texts.js";

/** Classes that a digit names: those of the defect's scores first, then the taxonomy's, without the one that was found. */
export function classKeys(defect, classes) {
  const all = [...defect.scores.map(([name]) => name), ...classes];
  return [...new Set(all)].filter((name) => name !== defect.class).slice(0, 9);
}

/** Buttons for one defect. say(verdict, rightClass) is called for each choice; undo() for U. */
export class LabelButtons {
  constructor({ say, undo, classes }) {
    Object.assign(this, { say, undo, classes, keys: [], defect: null });
    this.node = element("div", { class: "label-buttons", role: "group", "aria-label": t("What is it?") });
  }

  show(defect) {
    this.defect = defect;
    this.keys = classKeys(defect, this.classes);
    const button = (key, text, kind, run) => element("button", { type: "button", class: kind, onclick: run }, element("kbd", {}, key), text);
    this.node.replaceChildren(
      button("R", t("right: {name}", { name: words(defect.class) }), "yes", () => this.say("right", null)),
      button("N", t("not a defect"), "no", () => this.say("not-a-defect", null)),
      ...this.keys.map((name, at) => button(String(at + 1), words(name), "class", () => this.say("wrong-class", name))),
      button("W", t("another class …"), "class", () => this.another()),
      button("U", t("undo"), "undo", () => this.undo()),
    );
  }

  async another() {
    const given = await dialog(t("What class is it?"), {
      fields: [{ name: "name", label: t("Class"), required: true, maxlength: 64, pattern: "[^\\s].*", list: "known-classes", autocomplete: "off" }], confirm: t("Label"),
    });
    const name = given?.name.trim().replaceAll(" ", "_");
    if (name) this.say("wrong-class", name);
  }

  /** Carry out a key; returns whether it was one of these. */
  key(key) {
    if (!this.defect) return false;
    const digit = Number(key), run = { r: () => this.say("right", null), n: () => this.say("not-a-defect", null), w: () => this.another(), u: () => this.undo() }[key.toLowerCase()];
    if (run) run();
    else if (digit >= 1 && digit <= this.keys.length) this.say("wrong-class", this.keys[digit - 1]);
    else return false;
    return true;
  }
}

export const label = (number, verdict, rightClass) => act(`/defects/${number}/label`, { verdict, right_class: rightClass });
export const takeBack = (number) => act(`/defects/${number}/take-back`);

/** Whether a key is meant for a field, a dialog, or the browser, and not for the page. */
export const isForOthers = (event) => event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest("input, select, textarea, dialog") || document.querySelector("dialog[open]");
