// The map of a coil that has passed: metres along, millimetres across, defects by class and severity, what was lost.
import { element } from "/static/dom.js";
import { causeWords, qualityWords } from "/static/causes.js";
import { colour, shape, trace, words } from "/static/palette.js";
import { ticks } from "/static/chart.js";
import { number, t } from "/static/texts.js";

const LEFT = 46, RIGHT = 12, TOP = 8, BOTTOM = 26;

/** Draws one coil on a canvas. `height` in CSS pixels. `onPick(number)` for a click on a defect. */
export class CoilMap {
  constructor({ height = 250, onPick = null, label = t("Strip map") } = {}) {
    Object.assign(this, { height, onPick, coil: null, length_mm: null, view: null, picked: null });
    this.canvas = element("canvas", { tabindex: "0", role: "img", "aria-label": label, class: "coil-map" });
    this.readout = element("div", { class: "readout", "aria-live": "polite" });
    this.node = element("div", { class: "map" }, this.canvas, this.readout);
    this.canvas.addEventListener("pointermove", (event) => this.read(this.nearest(event)));
    this.canvas.addEventListener("pointerleave", () => this.read(null));
    this.canvas.addEventListener("click", (event) => { const at = this.nearest(event); if (at) this.onPick?.(at.number); });
    this.canvas.addEventListener("wheel", (event) => { if (event.ctrlKey || event.shiftKey) { event.preventDefault(); this.zoom(event.deltaY < 0 ? 0.6 : 1 / 0.6, this.alongAt(event)); } }, { passive: false });
    this.canvas.addEventListener("keydown", (event) => {
      const act = { "+": () => this.zoom(0.6), "-": () => this.zoom(1 / 0.6), 0: () => this.whole(), ArrowLeft: () => this.move(-0.25), ArrowRight: () => this.move(0.25) }[event.key];
      if (act) { event.preventDefault(); act(); }
    });
    this.drag();
    new ResizeObserver(() => this.draw()).observe(this.node);
    addEventListener("themechange", () => this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Show what /coils/N/map answered. length_mm: a length to draw to, for two maps of one scale. */
  show(found, length_mm = null) {
    this.coil = found;
    const at = Object.fromEntries(found.columns.map((name, i) => [name, i]));
    this.defects = found.defects.map((row) => ({
      number: row[at.id], class: row[at.defect_class], severity: row[at.severity] ?? 0, tentative: Boolean(row[at.tentative]),
      along: [row[at.along_begin_mm], row[at.along_end_mm]], across: [row[at.across_begin_mm], row[at.across_end_mm]],
    })).reverse();
    this.length_mm = length_mm ?? Math.max(found.coil.passed_mm, 1);
    const edges = [...(found.strip_mm ?? []), ...this.defects.flatMap((one) => one.across)];
    const low = edges.reduce((a, b) => Math.min(a, b), Infinity), high = edges.reduce((a, b) => Math.max(a, b), -Infinity), rim = 0.03 * (high - low);
    this.across = edges.length ? [low - rim, high + rim] : [0, 1000];
    this.whole();
  }

  /** Hide the defects of these classes, and the tentative ones. */
  hide(classes, tentative) { this.hidden = classes; this.withoutTentative = tentative; this.draw(); }

  whole() { this.view = [0, this.length_mm]; this.draw(); }

  zoom(factor, about_mm = null) {
    const [begin, end] = this.view, about = about_mm ?? (begin + end) / 2;
    const length = Math.min(this.length_mm, Math.max(200, (end - begin) * factor));
    this.place(about - ((about - begin) / (end - begin)) * length, length);
  }

  move(share) { const [begin, end] = this.view; this.place(begin + share * (end - begin), end - begin); }

  place(begin, length) {
    const first = Math.max(0, Math.min(this.length_mm - length, begin));
    this.view = [first, first + length];
    this.draw();
    this.onView?.(this.view);
  }

  drag() {
    let from = null;
    this.canvas.addEventListener("pointerdown", (event) => { if (this.view && this.view[1] - this.view[0] < this.length_mm) { from = [event.clientX, this.view[0]]; this.canvas.setPointerCapture(event.pointerId); } });
    this.canvas.addEventListener("pointermove", (event) => { if (from) this.place(from[1] - ((event.clientX - from[0]) / this.width) * (this.view[1] - this.view[0]), this.view[1] - this.view[0]); });
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => { from = null; });
  }

  x(along_mm) { return LEFT + ((along_mm - this.view[0]) / (this.view[1] - this.view[0])) * this.width; }
  y(across_mm) { return TOP + ((across_mm - this.across[0]) / (this.across[1] - this.across[0] || 1)) * (this.height - TOP - BOTTOM); }
  alongAt(event) { return this.view[0] + ((event.clientX - this.canvas.getBoundingClientRect().left - LEFT) / this.width) * (this.view[1] - this.view[0]); }

  draw() {
    if (!this.coil || !this.node.clientWidth) return;
    const ratio = devicePixelRatio || 1, wide = this.node.clientWidth, style = getComputedStyle(document.documentElement);
    const look = (name) => style.getPropertyValue(name).trim();
    this.width = wide - LEFT - RIGHT;
    this.canvas.width = wide * ratio;
    this.canvas.height = this.height * ratio;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const bottom = this.height - BOTTOM, [begin, end] = this.view, passed = Math.min(this.coil.coil.passed_mm, end);
    pen.save();
    pen.beginPath(); pen.rect(LEFT, TOP, this.width, bottom - TOP); pen.clip();
    pen.fillStyle = look("--void"); pen.fillRect(LEFT, TOP, this.width, bottom - TOP);
    const [left, right] = this.coil.strip_mm ?? this.across;
    pen.fillStyle = look("--steel");
    pen.fillRect(this.x(0), this.y(left), this.x(passed) - this.x(0), this.y(right) - this.y(left));
    this.lost(pen, look, left, right);
    for (const one of this.defects) this.defect(pen, one, begin, end);
    pen.restore();
    this.axes(pen, look, bottom);
  }

  lost(pen, look, left, right) {
    for (const [begin, end, quality] of this.coil.spans) {
      if (end < this.view[0] || begin > this.view[1]) continue;
      const x = this.x(begin), width = Math.max(1.5, this.x(end) - x), top = this.y(left), height = this.y(right) - top;
      pen.fillStyle = quality === "missed" ? look("--bad-ground") : look("--warn-ground");
      pen.fillRect(x, top, width, height);
      pen.strokeStyle = quality === "missed" ? look("--bad") : look("--warn");
      pen.lineWidth = 1;
      pen.save();
      pen.beginPath(); pen.rect(x, top, width, height); pen.clip();
      pen.beginPath();
      const step = quality === "missed" ? 6 : 10;
      for (let at = Math.floor((x - height) / step) * step; at < x + width; at += step) { pen.moveTo(at, top + height); pen.lineTo(at + height, top); }
      pen.stroke();
      pen.restore();
    }
  }

  defect(pen, one, begin, end) {
    if (one.along[1] < begin || one.along[0] > end || this.hidden?.has(one.class) || (one.tentative && this.withoutTentative)) return;
    const x = (this.x(one.along[0]) + this.x(one.along[1])) / 2, y = (this.y(one.across[0]) + this.y(one.across[1])) / 2;
    const half = [(this.x(one.along[1]) - this.x(one.along[0])) / 2, (this.y(one.across[1]) - this.y(one.across[0])) / 2];
    const radius = 2.6 + 0.9 * one.severity, ink = colour(one.class);
    pen.strokeStyle = pen.fillStyle = ink;
    pen.lineWidth = one.number === this.picked ? 3 : 1.4;
    if (half[0] > radius || half[1] > radius) {
      pen.globalAlpha = one.tentative ? 0.25 : 0.35;
      pen.fillRect(x - Math.max(half[0], 0.7), y - Math.max(half[1], 0.7), 2 * Math.max(half[0], 0.7), 2 * Math.max(half[1], 0.7));
      pen.globalAlpha = 1;
    }
    pen.beginPath();
    trace(pen, shape(one.class), x, y, radius);
    if (one.tentative) pen.stroke(); else pen.fill();
  }

  axes(pen, look, bottom) {
    pen.strokeStyle = look("--strong-line"); pen.fillStyle = look("--soft"); pen.lineWidth = 1;
    pen.strokeRect(LEFT + 0.5, TOP + 0.5, this.width - 1, bottom - TOP - 1);
    const [begin, end] = this.view, fine = end - begin < 5000 ? 2 : end - begin < 50_000 ? 1 : 0;
    pen.textAlign = "center"; pen.textBaseline = "alphabetic";
    for (const metres of ticks(begin / 1000, end / 1000, Math.max(2, this.width / 110))) {
      const x = this.x(metres * 1000);
      pen.beginPath(); pen.moveTo(x, bottom); pen.lineTo(x, bottom + 4); pen.stroke();
      if (x < LEFT + this.width - 24) pen.fillText(number(metres, fine), x, bottom + 16);
    }
    pen.textAlign = "right"; pen.fillText("m", LEFT + this.width, bottom + 16);
    pen.textBaseline = "middle";
    for (const mm of ticks(this.across[0], this.across[1], 4)) pen.fillText(number(mm), LEFT - 6, Math.min(bottom - 4, Math.max(TOP + 5, this.y(mm))));
    pen.save(); pen.translate(8, (TOP + bottom) / 2); pen.rotate(-Math.PI / 2); pen.textAlign = "center"; pen.fillText("mm", 0, 0); pen.restore();
  }

  nearest(event) {
    if (!this.coil) return null;
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = null, least = 14 ** 2;
    for (const one of this.defects) {
      if (this.hidden?.has(one.class) || (one.tentative && this.withoutTentative)) continue;
      const dx = Math.max(this.x(one.along[0]) - x, 0, x - this.x(one.along[1])), dy = Math.max(this.y(one.across[0]) - y, 0, y - this.y(one.across[1]));
      if (dx * dx + dy * dy <= least) { least = dx * dx + dy * dy; best = one; }
    }
    if (!best && x >= LEFT) {
      const along = this.alongAt(event), span = this.coil.spans.find(([begin, end]) => along >= begin && along <= end);
      return span ? { span } : null;
    }
    return best;
  }

  read(at) {
    this.canvas.style.cursor = at?.number ? "pointer" : "";
    if (!at) { this.readout.textContent = this.hint ?? t("Point at the map to read it; + and − zoom, the arrow keys move."); return; }
    if (at.span) {
      const [begin, end, quality, cause] = at.span;
      this.readout.textContent = t("{quality}: {from} to {to} m, {cause}", { quality: qualityWords(quality), from: number(begin / 1000, 2), to: number(end / 1000, 2), cause: causeWords(cause) });
      return;
    }
    const parts = [words(at.class), at.severity ? t("severity {severity}", { severity: at.severity }) : "", at.tentative ? t("tentative") : "",
      t("{along} m from the head, {across} mm across", { along: number(at.along[0] / 1000, 2), across: number((at.across[0] + at.across[1]) / 2) })];
    this.readout.textContent = parts.filter(Boolean).join(" · ");
  }
}
