// The newest picture of a camera, with the outlines of its defects over it: asked for four times a second, while visible.
import { ask } from "/static/ask.js";
import { element, say } from "/static/dom.js";
import { linkNow } from "/static/feed.js";
import { colour } from "/static/palette.js";
import { number, t } from "/static/texts.js";

const EVERY_MS = 250;
const OLD_MS = 2000;

export class CameraView {
  /**
   * camera: SIDE/NAME, or "" for the service's own. onPlace(about): where it lies, once it is known. defectsIn(about):
   * the defects there, whose boxes are drawn where no outlines are known.
   */
  constructor(camera, { onPlace, defectsIn }) {
    Object.assign(this, { camera, onPlace, defectsIn, about: null, outlined: true, visible: true });
    this.canvas = element("canvas", { class: "live", role: "img", width: 800, height: 256, "aria-label": t("Newest picture of camera {name}", { name: camera || "1" }) });
    this.title = element("h2", {}, camera || t("Camera"));
    this.where = element("span", { class: "soft" });
    this.toggle = element("button", { type: "button", "aria-pressed": "true", onclick: () => this.outline(!this.outlined) }, t("Outlines"));
    this.none = element("p", { class: "empty" }, t("No picture yet"));
    this.node = element("figure", { class: "panel camera" }, element("header", {}, this.title, this.where, this.toggle), this.canvas, this.none);
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.canvas.hidden = true;
    new IntersectionObserver((seen) => { this.visible = seen.at(-1).isIntersecting; }).observe(this.node);
    this.loop();
  }

  outline(on) {
    this.outlined = on;
    this.toggle.setAttribute("aria-pressed", String(on));
    this.draw();
  }

  async loop() {
    for (;;) {
      const began = performance.now();
      if (this.visible && document.visibilityState === "visible" && linkNow().kind !== "lost") await this.update().catch(() => {});
      this.sayAge();
      await new Promise((done) => setTimeout(done, Math.max(30, EVERY_MS - (performance.now() - began))));
    }
  }

  async update() {
    const about = await ask("/live/place", { camera: this.camera });
    if (!about.ordinal && about.ordinal !== 0) return;
    const isNew = about.ordinal !== this.about?.ordinal || about.coil !== this.about?.coil;
    if (isNew) {
      const response = await fetch(`/live/picture?${new URLSearchParams({ camera: this.camera, ordinal: about.ordinal })}`);
      if (!response.ok) return;
      this.picture?.close();
      this.picture = await createImageBitmap(await response.blob());
      this.arrivedMs = Date.now();
    } else if (about.outlines?.length === this.about.outlines?.length && about.outlines) return;
    this.about = about;
    this.onPlace(about);
    this.draw();
  }

  draw() {
    const { about, picture, context, canvas } = this;
    if (!picture) return;
    const wide = about.across_mm[1] - about.across_mm[0], tall = about.along_mm[1] - about.along_mm[0];
    const width = 960, height = Math.max(60, Math.round((width * tall) / wide));
    if (canvas.height !== height) { canvas.width = width; canvas.height = height; }
    canvas.hidden = false;
    this.none.hidden = true;
    context.drawImage(picture, 0, 0, width, height);
    if (!this.outlined) return;
    const x = width / about.width_px, y = height / about.lines;
    context.lineWidth = 2;
    for (const one of about.outlines ?? this.onStrip(about)) {
      for (const [thick, ink] of [[4, "rgb(0 0 0 / 55%)"], [2, onGray(one.class)]]) {
        context.lineWidth = thick;
        context.strokeStyle = ink;
        context.setLineDash(one.tentative ? [5, 4] : []);
        context.beginPath();
        for (const ring of one.rings) {
          ring.forEach(([column, line], i) => (i ? context.lineTo(column * x, line * y) : context.moveTo(column * x, line * y)));
          context.closePath();
        }
        context.stroke();
      }
    }
    context.setLineDash([]);
  }

  /** Outlines that are told in millimetres of the strip, and the boxes of the other defects in the picture. */
  onStrip(about) {
    const line = (mm) => ((mm - about.along_mm[0]) / (about.along_mm[1] - about.along_mm[0])) * about.lines;
    const column = (mm) => ((mm - about.across_mm[0]) / (about.across_mm[1] - about.across_mm[0])) * about.width_px;
    const outlined = about.outlines_mm ?? [], known = new Set(outlined.map((one) => one.id));
    const boxes = [...this.defectsIn(about)].filter((one) => !known.has(one.id)).map((one) => ({ ...one, rings: [corners(one)] }));
    return [...outlined, ...boxes].map((one) => ({ ...one, rings: one.rings.map((ring) => ring.map(([across, along]) => [column(across), line(along)])) }));
  }

  sayAge() {
    if (!this.about) return;
    const old = Date.now() - this.arrivedMs > OLD_MS;
    const name = this.camera || `${this.about.side}/${this.about.camera}`;
    say(this.title, name);
    say(this.where, old ? t("at {m} m, {s} s old", { m: number(this.about.along_mm[1] / 1000, 1), s: number((Date.now() - this.arrivedMs) / 1000) }) : t("at {m} m", { m: number(this.about.along_mm[1] / 1000, 1) }));
    this.canvas.classList.toggle("old", old);
  }
}

/** A defect's box, as a ring of [across, along] in mm. */
const corners = ({ across_mm: [left, right], along_mm: [top, bottom] }) => [[left, top], [right, top], [right, bottom], [left, bottom]];

/** A class's colour as it is seen on gray steel: the lighter palette in either theme. */
const onGray = (name) => colour(name, true);
