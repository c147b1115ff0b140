// The picture of a defect, to scale in millimetres, with its outline and the engine's map laid over it.
import { drawn, element } from "/static/dom.js";
import { toast } from "/static/dialog.js";
import { colour } from "/static/palette.js";
import { number, t } from "/static/texts.js";

const NEXT_TO_NOTHING = 0.2; // below it the map is hardly seen
const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];
const addresses = new Map();

/** Where a defect's picture is. */
export const pictureOf = (defect) => `/defects/${defect}/picture.png`;

/** Have the browser fetch a picture before it is shown. */
export function preload(defect) {
  if (addresses.has(defect)) return;
  const image = new Image();
  image.src = pictureOf(defect);
  addresses.set(defect, image);
  if (addresses.size > 40) addresses.delete(addresses.keys().next().value);
}

/** Shows what /defects/N/about answered. */
export class DefectView {
  constructor({ tall = 460 } = {}) {
    Object.assign(this, { tall, zoom: 0, outline: true, activation: false, found: null });
    this.picture = element("img", { class: "steel", alt: "", draggable: "false" });
    this.over = element("img", { class: "over", alt: "", hidden: true });
    this.svg = drawn("svg", { class: "lines", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.bar = drawn("svg", { class: "scale", "aria-hidden": "true" });
    this.sheet = element("div", { class: "sheet" }, this.picture, this.over, this.svg);
    this.frame = element("div", { class: "frame", tabindex: "0", role: "group", "aria-label": t("Picture of the defect") }, this.sheet);
    this.none = element("p", { class: "empty", hidden: true }, t("No picture of this defect is stored."));
    const press = (text, key, run) => element("button", { type: "button", title: t("key {key}", { key }), onclick: run }, text);
    this.buttons = {
      outline: press(t("Outline"), "O", () => this.toggleOutline()), activation: press(t("Where the engine looked"), "A", () => this.toggleActivation()),
    };
    const zooms = element("span", { class: "group" }, press("−", "-", () => this.zoomBy(-1)), press(t("fit"), "0", () => this.zoomBy(0)), press("+", "+", () => this.zoomBy(1)));
    for (const [button, name] of [[zooms.firstChild, t("zoom out")], [zooms.lastChild, t("zoom in")]]) button.setAttribute("aria-label", name);
    this.how = element("p", { class: "soft how" });
    this.tools = element("div", { class: "tools-line" }, this.buttons.outline, this.buttons.activation, zooms, this.bar);
    this.node = element("div", { class: "defect-view" }, this.tools, this.frame, this.none, this.how);
    new ResizeObserver(() => this.layOut()).observe(this.node);
    this.drag();
  }

  /** Show a defect. */
  show(found) {
    const { picture, defect, activation } = found;
    Object.assign(this, { found, activation: false });
    this.frame.hidden = this.bar.hidden = !picture;
    this.none.hidden = Boolean(picture);
    this.over.hidden = true;
    this.over.removeAttribute("src");
    this.buttons.activation.disabled = !picture || !activation;
    this.buttons.outline.disabled = !picture?.outline;
    this.how.textContent = activation || !picture ? "" : t("The engine that found it is not in this host's folder of engines: it cannot show where it looked.");
    if (picture) {
      this.picture.src = pictureOf(defect.number);
      this.picture.alt = t("Steel around the defect, {across} mm across and {along} mm along", { across: number(size(picture.across_mm)), along: number(size(picture.along_mm)) });
      this.svg.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
      this.svg.replaceChildren(drawn("path", { d: picture.outline, class: "halo" }), drawn("path", { d: picture.outline, class: "outline", stroke: colour(defect.class) }));
      this.zoom = 0;
      this.layOut();
    }
    this.press();
  }

  press() {
    this.buttons.outline.setAttribute("aria-pressed", String(this.outline));
    this.buttons.activation.setAttribute("aria-pressed", String(this.activation));
    this.svg.toggleAttribute("hidden", !this.outline);
  }

  toggleOutline() { this.outline = !this.outline; this.press(); }

  /** Have the engine look again, and lay over the picture where it sees a defect. */
  async toggleActivation() {
    const { picture, activation, defect } = this.found ?? {};
    if (!picture || !activation) return;
    this.activation = !this.activation;
    this.press();
    this.over.hidden = !this.activation;
    this.how.textContent = this.activation ? t("The engine looks …") : "";
    if (!this.activation) return;
    try {
      const response = await fetch(`/defects/${defect.number}/activation.png`, { credentials: "same-origin" });
      if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error ?? String(response.status));
      const url = URL.createObjectURL(await response.blob());
      if (this.found.defect.number !== defect.number || !this.activation) { URL.revokeObjectURL(url); return; }
      this.over.onload = () => URL.revokeObjectURL(url);
      this.over.src = url;
      this.how.textContent = lookedAt(activation.engine, Number(response.headers.get("X-Largest")));
    } catch (error) {
      this.activation = false;
      this.over.hidden = true;
      this.how.textContent = "";
      this.press();
      toast(error.message, "bad");
    }
  }

  zoomBy(step) { this.zoom = step === 0 ? 0 : Math.max(0, Math.min(ZOOMS.length - 1, this.zoom + step)); this.layOut(); }

  layOut() {
    const picture = this.found?.picture;
    if (!picture || !this.node.clientWidth) return;
    const [across, along] = [size(picture.across_mm), size(picture.along_mm)];
    const fit = Math.min(this.frame.clientWidth / across, this.tall / along), scale = fit * ZOOMS[this.zoom];
    this.sheet.style.width = `${across * scale}px`;
    this.sheet.style.height = `${along * scale}px`;
    this.frame.style.height = `${Math.min(this.tall, along * scale) + 2}px`;
    if (this.zoom) {
      this.frame.scrollLeft = (across * scale - this.frame.clientWidth) / 2;
      this.frame.scrollTop = (along * scale - this.frame.clientHeight) / 2;
    }
    const bar_mm = roundDown(120 / scale), width = bar_mm * scale;
    this.bar.setAttribute("viewBox", `0 0 ${width + 60} 16`);
    this.bar.style.width = `${width + 60}px`;
    this.bar.replaceChildren(drawn("path", { d: `M1 4V12M1 8H${width + 1}M${width + 1} 4V12`, stroke: "currentColor" }), drawn("text", { x: width + 8, y: 12 }, `${number(bar_mm, bar_mm < 1 ? 1 : 0)} mm`));
  }

  drag() {
    let from = null;
    this.frame.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse") { from = [event.clientX + this.frame.scrollLeft, event.clientY + this.frame.scrollTop]; event.preventDefault(); this.frame.focus({ preventScroll: true }); } });
    addEventListener("pointermove", (event) => { if (from) { this.frame.scrollLeft = from[0] - event.clientX; this.frame.scrollTop = from[1] - event.clientY; } });
    addEventListener("pointerup", () => { from = null; });
    this.frame.addEventListener("wheel", (event) => { if (event.ctrlKey) { event.preventDefault(); this.zoomBy(event.deltaY < 0 ? 1 : -1); } }, { passive: false });
  }

  /** Carry out a key; returns whether it was one of the view's. */
  key(key) {
    const act = { o: () => this.toggleOutline(), a: () => this.toggleActivation(), "+": () => this.zoomBy(1), "-": () => this.zoomBy(-1), 0: () => this.zoomBy(0) }[key.toLowerCase()];
    act?.();
    return Boolean(act);
  }
}

const size = ([begin, end]) => end - begin;

/** What the map over the picture is; in words too where there is next to nothing to see. */
function lookedAt(engine, largest) {
  const values = { engine, percent: number(100 * largest) };
  return largest < NEXT_TO_NOTHING
    ? t("Engine {engine} sees next to nothing in the stored picture: {percent} % at the most. At the line it saw the steel around it too; beyond the picture's border that is mirrored here.", values)
    : t("Bright: where engine {engine} sees a defect in the stored picture, computed now, {percent} % at the most. The steel beyond the picture's border is mirrored, so near the border it may differ from what the engine saw at the line.", values);
}

/** The largest of 1, 2 or 5 times a power of ten that is at most this. */
function roundDown(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return power * [5, 2, 1].find((one) => one * power <= most);
}
