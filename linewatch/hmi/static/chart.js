// Charts: lines, bars or stacked bars over numbers, times or names. Values can be read off and exported as CSV and PNG.
import { csv, download, drawn, element } from "/static/dom.js";
import { number, t } from "/static/texts.js";

const LEFT = 56, RIGHT = 14, TOP = 12, BOTTOM = 30;
/** About the width of a letter of the axes. */
const LETTER = 7;

/** About so many round steps from 0 or `low` to `high`. */
export function ticks(low, high, about = 5) {
  const raw = (high - low || 1) / about, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((one) => one * power >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) found.push(+at.toPrecision(12));
  return found;
}

/**
 * A chart in a <figure>. series: `[{ name, colour, values: [number | null], dashed }]`, one value for each of `at`.
 * at: numbers, or names. options: kind "line" | "bar" | "stack", label(x) for the x axis, unit of y, decimals, title,
 * height, low: the least top of the y axis, high: a fixed one, onPick(index) for a click.
 */
export class Chart {
  constructor(title, { kind = "line", label = String, unit = "", decimals = 1, height = 230, high = null, low = 0, onPick = null } = {}) {
    Object.assign(this, { title, kind, label, unit, decimals, height, high, low, onPick, at: [], series: [] });
    this.width = 720;
    this.svg = drawn("svg", { role: "img", "aria-label": title, tabindex: "0" });
    this.readout = element("div", { class: "readout", "aria-live": "polite" });
    this.legend = element("ul", { class: "legend" });
    const tools = element("span", { class: "group" },
      element("button", { type: "button", onclick: () => this.exportCsv() }, "CSV"),
      element("button", { type: "button", onclick: () => this.exportPng() }, "PNG"));
    this.node = element("figure", { class: "chart panel" }, element("header", {}, element("h2", {}, title), tools), this.legend, this.svg, this.readout);
    new ResizeObserver(() => this.fit()).observe(this.svg);
    this.svg.addEventListener("pointermove", (event) => this.read(this.nearest(event)));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    this.svg.addEventListener("click", (event) => { const at = this.nearest(event); if (at !== null) this.onPick?.(at); });
    this.svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step && this.at.length) { event.preventDefault(); this.read(Math.max(0, Math.min(this.at.length - 1, (this.cursor ?? (step > 0 ? -1 : this.at.length)) + step))); }
      if (event.key === "Enter" && this.cursor !== null && this.cursor !== undefined) this.onPick?.(this.cursor);
    });
  }

  /** Draw for the width that the chart has, so that its text is as large on a phone as on a wide screen. */
  fit() {
    const width = Math.max(240, Math.round(this.svg.clientWidth));
    if (!this.svg.clientWidth || width === this.width) return;
    this.width = width;
    if (this.at.length) this.show(this.at, this.series);
  }

  /** Draw these values. */
  show(at, series) {
    Object.assign(this, { at, series, cursor: null });
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    const sums = at.map((_, i) => (this.kind === "stack" ? series.reduce((sum, one) => sum + (one.values[i] ?? 0), 0) : Math.max(0, ...series.map((one) => one.values[i] ?? 0))));
    this.top = this.high ?? (Math.max(this.low, ...sums) || 1);
    const whole = (values) => (this.decimals ? values : values.filter((one) => one % 1 === 0));
    const marks = ticks(0, this.top);
    if (this.high === null && marks.at(-1) < this.top) this.top = marks.at(-1) + marks[1] - marks[0];
    const parts = [];
    for (const one of whole(ticks(0, this.top))) {
      parts.push(drawn("line", { class: "grid", x1: LEFT, x2: this.width - RIGHT, y1: this.y(one), y2: this.y(one) }));
      parts.push(drawn("text", { x: LEFT - 6, y: this.y(one) + 4, "text-anchor": "end" }, number(one, one % 1 ? 2 : 0)));
    }
    const widest = Math.max(1, ...at.map((one) => this.label(one).length)) * LETTER + 14;
    const every = Math.max(1, Math.ceil((at.length * widest) / (this.width - LEFT - RIGHT)));
    at.forEach((one, i) => {
      if (i % every) return;
      const text = this.label(one), half = (text.length * LETTER) / 2 + 4; // whole, at the borders too
      parts.push(drawn("text", { x: Math.max(half, Math.min(this.width - half, this.x(i))), y: this.height - 10, "text-anchor": "middle" }, text));
    });
    parts.push(drawn("line", { class: "axis", x1: LEFT, x2: this.width - RIGHT, y1: this.y(0), y2: this.y(0) }));
    if (this.unit) parts.push(drawn("text", { x: 4, y: TOP + 2 }, this.unit));
    if (this.kind === "line") series.forEach((one) => parts.push(...this.line(one))); else parts.push(...this.bars());
    this.line_ = drawn("line", { class: "cursor", y1: TOP, y2: this.height - BOTTOM, visibility: "hidden" });
    this.svg.replaceChildren(...parts, this.line_);
    this.legend.replaceChildren(...(series.length > 1 ? series.map((one) => element("li", {}, swatch(one.colour), one.name)) : []));
    this.read(null);
  }

  line({ values, colour, dashed }) {
    const parts = [];
    let path = "", open = false;
    values.forEach((value, i) => {
      if (value === null || value === undefined) { open = false; return; }
      path += `${open ? "L" : "M"}${this.x(i).toFixed(1)} ${this.y(value).toFixed(1)}`;
      open = true;
      if (values.length <= 80) parts.push(drawn("circle", { cx: this.x(i), cy: this.y(value), r: 2.4, fill: colour, stroke: "none" }));
    });
    parts.unshift(drawn("path", { d: path, fill: "none", stroke: colour, "stroke-width": 2, ...(dashed ? { "stroke-dasharray": "6 4" } : {}) }));
    return parts;
  }

  bars() {
    const parts = [], step = (this.width - LEFT - RIGHT) / Math.max(1, this.at.length), many = this.kind === "bar" ? this.series.length : 1;
    this.at.forEach((_, i) => {
      let base = 0;
      this.series.forEach((one, k) => {
        const value = one.values[i] ?? 0;
        if (value <= 0) return;
        const width = (step * 0.76) / many, x = this.x(i) - step * 0.38 + (this.kind === "bar" ? k * width : 0);
        const from = this.kind === "stack" ? base : 0;
        parts.push(drawn("rect", { x, y: this.y(from + value), width: Math.max(1, width), height: Math.max(0.5, this.y(from) - this.y(from + value)), fill: one.colour, stroke: "none" }));
        base += value;
      });
    });
    return parts;
  }

  x(i) {
    const inner = this.width - LEFT - RIGHT, count = this.at.length;
    return this.kind === "line" && count > 1 ? LEFT + (inner * i) / (count - 1) : LEFT + (inner * (i + 0.5)) / Math.max(1, count);
  }

  y(value) { return this.height - BOTTOM - ((this.height - BOTTOM - TOP) * value) / this.top; }

  nearest(event) {
    if (!this.at.length) return null;
    const box = this.svg.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * this.width;
    return this.at.reduce((best, _, i) => (Math.abs(this.x(i) - x) < Math.abs(this.x(best) - x) ? i : best), 0);
  }

  read(at) {
    this.cursor = at;
    if (at === null) {
      this.line_?.setAttribute("visibility", "hidden");
      this.readout.textContent = this.at.length ? t("Point at the chart, or use the arrow keys, to read values.") : t("Nothing to show");
      return;
    }
    for (const end of ["x1", "x2"]) this.line_.setAttribute(end, this.x(at));
    this.line_.setAttribute("visibility", "visible");
    const values = this.series.map((one) => `${one.name}: ${number(one.values[at], this.decimals)}${this.unit ? ` ${this.unit}` : ""}`);
    this.readout.textContent = `${this.label(this.at[at])} — ${values.join(" · ")}`;
  }

  /** Offer the values as a CSV file. */
  exportCsv() {
    download(`${name(this.title)}.csv`, csv([["", ...this.series.map((one) => one.name)], ...this.at.map((one, i) => [this.label(one), ...this.series.map((s) => s.values[i])])]), "text/csv");
  }

  /** Offer the chart as a PNG file, of twice its size. */
  async exportPng() {
    const copy = this.svg.cloneNode(true);
    const inner = [...this.svg.querySelectorAll("*")];
    [...copy.querySelectorAll("*")].forEach((one, i) => {
      const style = getComputedStyle(inner[i]);
      for (const key of ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-family"]) one.setAttribute(key, style.getPropertyValue(key));
    });
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("width", this.width * 2);
    copy.setAttribute("height", this.height * 2);
    const picture = new Image(), url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
    picture.src = url;
    await picture.decode();
    const canvas = element("canvas", { width: this.width * 2, height: this.height * 2 });
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--panel");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(picture, 0, 0);
    URL.revokeObjectURL(url);
    canvas.toBlob((blob) => download(`${name(this.title)}.png`, blob, "image/png"));
  }
}

/** A small square of a colour, for legends. */
export const swatch = (colour) => drawn("svg", { viewBox: "0 0 14 14", class: "mark", "aria-hidden": "true" }, drawn("rect", { x: 1, y: 1, width: 12, height: 12, rx: 2, fill: colour, stroke: "none" }));

const name = (title) => title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-");
