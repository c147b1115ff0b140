// The strip from above, to scale: metres along, millimetres across, one lane a side. What does not change is drawn once,
// on tiles; each frame of the display puts the tiles in their places, so ten thousand defects cost what ten do.
import { StripModel } from "/static/strip_model.js";
import { colour, shape, trace, words } from "/static/palette.js";
import { number, t } from "/static/texts.js";
import { ticks } from "/static/chart.js";

const TILE_PX = 512, GUTTER = 58, AXIS = 26, LANE_GAP = 14, LANE_TITLE = 16;
const SPANS_M = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];
const TILES_A_FRAME = 2;
const NEAR_PX = 14;

/** The radius of a defect's mark by its severity, 0 to 5; tentative defects have none. */
export const radius = (severity) => 3.2 + 1.25 * (severity ?? 0);

export class StripMap {
  /** canvas: focusable. onPoint(defect | stretch | null, x, y): what the pointer is over. onPick(defect). onView(): it was moved. */
  constructor(canvas, { onPoint, onPick, onView }) {
    Object.assign(this, { canvas, onPoint, onPick, onView, model: new StripModel(), tiles: new Map(), dirty: new Set() });
    this.context = canvas.getContext("2d", { alpha: false });
    this.spanMm = 50_000;
    this.following = true;
    this.shownMm = 0; // what of the strip the display has reached: never more than what was told
    this.rightMm = this.spanMm;
    this.selected = null;
    this.drawn = { frames: 0, tiles: 0, busyMs: 0 };
    this.readColours();
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
    this.listen();
    requestAnimationFrame((now) => this.frame(now));
  }

  // what the page tells the map

  begin(parts) { this.model.begin(parts); this.shownMm = this.model.endMm; this.forget(); }

  add(parts) {
    for (const [from, to] of this.model.add(parts)) this.soil(from, to);
    if (this.model.relaid) { this.model.relaid = false; this.forget(); }
  }

  setCameras(cameras) { this.cameras = cameras; }

  readColours() {
    const style = getComputedStyle(document.documentElement), of = (name) => style.getPropertyValue(name).trim();
    this.colours = Object.fromEntries(["void", "steel", "ink", "soft", "line", "panel", "accent", "bad", "warn", "strong-line"].map((name) => [name, of(`--${name}`)]));
    this.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    this.hatches = { missed: hatch(this.colours.bad, 9, 1.8, false, 0.2), degraded: hatch(this.colours.warn, 9, 1.2, true, 0.07) };
    this.forget();
  }

  // where the view is

  get pxPerMm() { return (this.width - GUTTER) / this.spanMm; }
  get leftMm() { return this.rightMm - this.spanMm; }
  xOf(mm) { return GUTTER + (mm - this.leftMm) * this.pxPerMm; }
  mmAt(x) { return this.leftMm + (x - GUTTER) / this.pxPerMm; }

  setSpan(mm, aroundX = null) {
    const wanted = Math.min(20_000_000, Math.max(2_000, mm));
    if (aroundX === null || this.following) { this.spanMm = wanted; } else {
      const fixed = this.mmAt(aroundX);
      this.spanMm = wanted;
      this.rightMm = fixed + (this.width - aroundX) / this.pxPerMm;
    }
    this.forget();
    this.onView();
  }

  zoom(steps, aroundX = null) {
    const spans = SPANS_M.map((m) => m * 1000);
    const at = spans.findIndex((mm) => mm >= this.spanMm * 0.999);
    const to = Math.min(spans.length - 1, Math.max(0, (at < 0 ? spans.length - 1 : at) + steps));
    this.setSpan(spans[to], aroundX);
  }

  wholeCoil() { this.setSpan(Math.max(5_000, this.model.endMm * 1.02)); this.follow(true); }

  pan(mm) { this.following = false; this.rightMm = Math.max(this.spanMm * 0.1, Math.min(this.model.endMm + this.spanMm * 0.9, this.rightMm + mm)); this.onView(); }

  follow(on = true) { this.following = on; this.onView(); }

  /** Bring a defect into view and mark it. */
  show(defect) {
    this.selected = defect?.id ?? null;
    if (!defect) return;
    const [from, to] = defect.along_mm, margin = this.spanMm * 0.05;
    if (from < this.leftMm + margin || to > this.rightMm - margin || this.following) {
      this.following = false;
      this.rightMm = (from + to) / 2 + this.spanMm / 2;
      this.onView();
    }
  }

  // drawing

  resize() {
    const box = this.canvas.getBoundingClientRect();
    this.ratio = Math.min(2, devicePixelRatio || 1);
    this.width = Math.max(200, Math.round(box.width));
    this.height = Math.max(80, Math.round(box.height));
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.forget();
  }

  forget() { this.tiles.clear(); this.dirty.clear(); }

  soil(fromMm, toMm) {
    const perTile = TILE_PX / this.pxPerMm, margin = 12 / this.pxPerMm;
    for (let at = Math.floor((fromMm - margin) / perTile); at <= Math.floor((toMm + margin) / perTile); at++) {
      if (this.tiles.has(at)) this.dirty.add(at);
    }
  }

  lanes() {
    const sides = this.model.sides, across = this.model.acrossMm, count = sides.length;
    const free = this.height - AXIS - LANE_GAP * (count - 1) - LANE_TITLE * (count > 1 ? count : 0);
    const tall = free / count;
    return sides.map((side, i) => {
      const top = i * (tall + LANE_GAP) + (count > 1 ? LANE_TITLE * (i + 1) : 0);
      return { side, top, tall, y: (mm) => top + ((mm - across[0]) / (across[1] - across[0])) * tall };
    });
  }

  frame(now) {
    const began = performance.now(), passed = Math.min(100, now - (this.before ?? now));
    this.before = now;
    this.advance(passed / 1000);
    this.paint();
    this.drawn.frames++;
    this.drawn.busyMs += performance.now() - began;
    requestAnimationFrame((next) => this.frame(next));
  }

  /** Let the display follow what was told, smoothly and never ahead of it. */
  advance(seconds) {
    const end = this.model.endMm, speed = this.live ? (this.speedMmPerS ?? 0) : 0;
    const late = end - this.shownMm;
    if (late < 0 || late > Math.max(speed, 3_000)) this.shownMm = end;
    else this.shownMm = Math.min(end, this.shownMm + speed * seconds + (late - speed * 0.08) * Math.min(1, seconds / 0.3));
    if (this.following) this.rightMm = Math.max(this.spanMm, this.shownMm + this.spanMm * 0.02);
  }

  paint() {
    const { context, colours, ratio, width, height } = this, lanes = this.lanes();
    this.laneNow = lanes;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = colours.panel;
    context.fillRect(0, 0, width, height);
    context.fillStyle = colours.void;
    for (const lane of lanes) context.fillRect(GUTTER, lane.top, width - GUTTER, lane.tall);
    context.save();
    context.beginPath();
    context.rect(GUTTER, 0, width - GUTTER, height - AXIS);
    context.clip();
    this.putTiles(lanes);
    this.paintCameras(lanes);
    this.paintHead(lanes);
    this.paintSelected(lanes);
    context.restore();
    this.paintAxes(lanes);
  }

  putTiles(lanes) {
    const perTile = TILE_PX / this.pxPerMm, first = Math.floor(this.leftMm / perTile), last = Math.floor(Math.min(this.rightMm, this.model.endMm) / perTile);
    let left = TILES_A_FRAME;
    for (let at = last; at >= Math.max(0, first); at--) {
      let tile = this.tiles.get(at);
      if ((!tile || this.dirty.has(at)) && left-- > 0) { tile = this.makeTile(at, perTile, lanes, tile); }
      if (tile) this.context.drawImage(tile, Math.round(this.xOf(at * perTile) * this.ratio) / this.ratio, 0, TILE_PX, this.height);
    }
    if (this.tiles.size > 24) for (const at of this.tiles.keys()) if (at < first - 2 || at > last + 2) this.tiles.delete(at);
    // The display has not reached the newest stretch yet.
    const x = this.xOf(this.shownMm);
    if (x < this.width) {
      this.context.fillStyle = this.colours.void;
      for (const lane of lanes) this.context.fillRect(x, lane.top, this.width - x, lane.tall);
    }
  }

  makeTile(at, perTile, lanes, old) {
    const tile = old ?? new OffscreenCanvas(TILE_PX * this.ratio, Math.round(this.height * this.ratio));
    const context = tile.getContext("2d"), from = at * perTile, to = from + perTile;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, TILE_PX, this.height);
    const x = (mm) => (mm - from) * this.pxPerMm;
    for (const lane of lanes) {
      context.save();
      context.beginPath();
      context.rect(0, lane.top, TILE_PX, lane.tall);
      context.clip();
      this.drawSteel(context, lane, x, from, to);
      this.drawRollMarks(context, lane, x, from, to);
      this.drawDefects(context, lane, x, from, to);
      context.restore();
    }
    this.tiles.set(at, tile);
    this.dirty.delete(at);
    this.drawn.tiles++;
    return tile;
  }

  drawSteel(context, lane, x, from, to) {
    const edges = this.model.edgesIn(from, to);
    context.fillStyle = this.colours.steel;
    for (const [begin, end, left, right] of edges) {
      const top = left === null ? lane.top : lane.y(left), bottom = right === null ? lane.top + lane.tall : lane.y(right);
      context.fillRect(x(begin) - 0.3, top, x(end) - x(begin) + 0.6, bottom - top);
    }
    for (const [begin, end, quality, cause, side] of this.model.spansIn(from, to)) {
      if (quality === "inspected" || (side && side !== lane.side)) continue;
      const left = x(begin), wide = Math.max(1.5, x(end) - left);
      context.fillStyle = this.hatches[quality](context);
      context.fillRect(left, lane.top, wide, lane.tall);
      context.fillStyle = quality === "missed" ? this.colours.bad : this.colours.warn;
      context.fillRect(left, lane.top, wide, 3);
      context.fillRect(left, lane.top + lane.tall - 3, wide, 3);
      this.drawCause(context, lane, left, wide, quality, cause);
    }
    context.strokeStyle = this.colours["strong-line"];
    context.lineWidth = 1.2;
    context.beginPath();
    for (const which of [2, 3]) {
      let before = null;
      for (const edge of edges) {
        if (edge[which] === null) { before = null; continue; }
        const y = lane.y(edge[which]);
        if (before === null || edge[0] - before > 50) context.moveTo(x(edge[0]), y); else context.lineTo(x(edge[0]), y);
        context.lineTo(x(edge[1]), y);
        before = edge[1];
      }
    }
    context.stroke();
  }

  drawCause(context, lane, left, wide, quality, cause) {
    const text = `${t(words(quality))}${cause ? `: ${t(words(cause))}` : ""}`;
    context.font = this.font;
    const needed = context.measureText(text).width + 12;
    if (wide < needed || left + needed < 0) return;
    const at = Math.max(left + 6, 6), y = lane.top + lane.tall / 2;
    context.fillStyle = this.colours.panel;
    context.fillRect(at - 5, y - 10, needed - 2, 20);
    context.fillStyle = quality === "missed" ? this.colours.bad : this.colours.warn;
    context.textBaseline = "middle";
    context.fillText(text, at, y);
  }

  drawRollMarks(context, lane, x, from, to) {
    for (const mark of this.model.rollMarksIn(from, to)) {
      if (this.model.sides.length > 1 && mark.side !== lane.side) continue;
      const [top, bottom] = mark.across_mm.map(lane.y), [begin, end] = mark.along_mm;
      context.strokeStyle = this.colours.accent;
      context.globalAlpha = 0.9;
      context.lineWidth = 1.4;
      context.beginPath();
      for (const y of [top - 4, bottom + 4]) { context.moveTo(x(Math.max(begin, from - 100)), y); context.lineTo(x(Math.min(end, to + 100)), y); }
      const step = mark.pitch_mm;
      if (step * this.pxPerMm > 3) {
        for (let k = Math.max(0, Math.ceil((from - begin) / step - 1)); begin + k * step <= Math.min(end + step * 0.3, to + step); k++) {
          context.moveTo(x(begin + k * step), top - 4);
          context.lineTo(x(begin + k * step), bottom + 4);
        }
      }
      context.stroke();
      context.globalAlpha = 1;
    }
  }

  drawDefects(context, lane, x, from, to) {
    const several = this.model.sides.length > 1, margin = 12 / this.pxPerMm;
    for (const defect of this.model.defectsIn(from - margin, to + margin)) {
      if (several && defect.side !== lane.side) continue;
      const [left, right] = defect.along_mm.map(x), [top, bottom] = defect.across_mm.map(lane.y), r = radius(defect.severity);
      const ink = colour(defect.class);
      context.strokeStyle = context.fillStyle = ink;
      context.lineWidth = 1.4;
      if (right - left > 2 * r || bottom - top > 2 * r) {
        context.globalAlpha = defect.tentative ? 0.85 : 0.32;
        if (!defect.tentative) context.fillRect(left, top, Math.max(1, right - left), Math.max(1, bottom - top));
        context.globalAlpha = 0.9;
        context.strokeRect(left, top, Math.max(1, right - left), Math.max(1, bottom - top));
        context.globalAlpha = 1;
      }
      context.beginPath();
      trace(context, shape(defect.class), (left + right) / 2, (top + bottom) / 2, r);
      if (defect.tentative) { context.globalAlpha = 0.85; context.stroke(); context.globalAlpha = 1; } else {
        context.fill();
        context.strokeStyle = this.colours.panel;
        context.lineWidth = 0.8;
        context.stroke();
      }
    }
  }

  paintCameras(lanes) {
    const { context } = this;
    context.setLineDash([2, 5]);
    context.strokeStyle = this.colours.soft;
    context.lineWidth = 1;
    for (const camera of this.cameras ?? []) {
      const lane = lanes.find((one) => one.side === camera.side) ?? lanes[0];
      context.beginPath();
      for (const mm of camera.across_mm) {
        const y = lane.y(mm);
        if (y > lane.top + 1 && y < lane.top + lane.tall - 1) { context.moveTo(GUTTER, y); context.lineTo(this.width, y); }
      }
      context.stroke();
    }
    context.setLineDash([]);
  }

  paintHead(lanes) {
    const x = this.xOf(this.shownMm), { context } = this;
    if (x < GUTTER || x > this.width + 2) return;
    context.fillStyle = this.live ? this.colours.accent : this.colours.soft;
    for (const lane of lanes) context.fillRect(x - 1, lane.top, 2, lane.tall);
    const marks = this.model.rollMarksIn(this.leftMm, this.rightMm);
    context.font = this.font;
    context.textBaseline = "bottom";
    for (const mark of marks) {
      const lane = lanes.find((one) => one.side === mark.side) ?? lanes[0], suspect = mark.suspects[0];
      const text = suspect ? `${suspect.roll} · ${number(100 * suspect.share)} %` : t("roll mark, {pitch} mm", { pitch: number(mark.pitch_mm) });
      const at = Math.max(GUTTER + 6, Math.min(this.xOf(mark.along_mm[1]), this.width) - context.measureText(text).width - 8);
      const y = Math.max(lane.top + 18, lane.y(mark.across_mm[0]) - 8);
      context.fillStyle = this.colours.panel;
      context.fillRect(at - 4, y - 15, context.measureText(text).width + 8, 17);
      context.fillStyle = this.colours.accent;
      context.fillText(text, at, y);
    }
  }

  paintSelected(lanes) {
    const defect = this.selected && this.model.defects.get(this.selected);
    if (!defect) return;
    const lane = lanes.find((one) => one.side === defect.side) ?? lanes[0], { context } = this;
    const r = radius(defect.severity) + 5, [left, right] = defect.along_mm.map((mm) => this.xOf(mm)), [top, bottom] = defect.across_mm.map(lane.y);
    context.strokeStyle = this.colours.ink;
    context.lineWidth = 2;
    const halfWide = Math.max(r, (right - left) / 2 + 4), halfTall = Math.max(r, (bottom - top) / 2 + 4);
    context.strokeRect((left + right) / 2 - halfWide, (top + bottom) / 2 - halfTall, 2 * halfWide, 2 * halfTall);
  }

  paintAxes(lanes) {
    const { context, colours, width, height } = this;
    context.font = this.font;
    context.fillStyle = colours.soft;
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    const across = this.model.acrossMm;
    for (const lane of lanes) {
      for (const mm of ticks(across[0], across[1], Math.max(2, lane.tall / 42))) {
        const y = lane.y(mm);
        if (y < lane.top - 0.5 || y > lane.top + lane.tall + 0.5) continue;
        context.fillText(number(mm), GUTTER - 6, Math.min(lane.top + lane.tall - 6, Math.max(lane.top + 6, y)));
        context.globalAlpha = 0.5;
        context.beginPath(); context.moveTo(GUTTER, y); context.lineTo(width, y); context.stroke();
        context.globalAlpha = 1;
      }
      if (lanes.length > 1) { context.textAlign = "left"; context.fillText(t(words(lane.side)), GUTTER, lane.top - 8); context.textAlign = "right"; }
    }
    context.textAlign = "left";
    context.fillText("mm", 4, lanes[0].top + 8);
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (const m of ticks(Math.max(0, this.leftMm / 1000), this.rightMm / 1000, Math.max(3, width / 120))) {
      const x = this.xOf(m * 1000);
      if (x < GUTTER) continue;
      context.beginPath(); context.moveTo(x, height - AXIS); context.lineTo(x, height - AXIS + 5); context.stroke();
      context.fillText(`${number(m, m % 1 ? 1 : 0)} m`, Math.min(width - 24, x), height - 6);
    }
    context.textAlign = "left";
  }

  // the person

  listen() {
    const { canvas } = this;
    let dragged = null, moved = 0;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan(((event.deltaX || event.deltaY) / this.pxPerMm) * 0.8);
      else this.zoom(Math.sign(event.deltaY), event.offsetX);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { dragged = event.clientX; moved = 0; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      if (dragged !== null) {
        const by = dragged - event.clientX;
        moved += Math.abs(by);
        if (moved > 4) { this.pan(by / this.pxPerMm); dragged = event.clientX; }
        return;
      }
      this.onPoint(this.at(event.offsetX, event.offsetY), event.offsetX, event.offsetY);
    });
    canvas.addEventListener("pointerup", (event) => {
      if (dragged !== null && moved <= 4) { const found = this.at(event.offsetX, event.offsetY); if (found?.defect) this.onPick(found.defect); }
      dragged = null;
    });
    canvas.addEventListener("pointerleave", () => this.onPoint(null));
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const keys = {
      ArrowLeft: () => this.pan(-this.spanMm / 8), ArrowRight: () => this.pan(this.spanMm / 8), PageUp: () => this.pan(-this.spanMm), PageDown: () => this.pan(this.spanMm),
      "+": () => this.zoom(-1), "-": () => this.zoom(1), Home: () => { this.pan(-1e9); }, End: () => this.follow(true), l: () => this.follow(true),
      n: () => this.step(1), p: () => this.step(-1), Enter: () => { const one = this.model.defects.get(this.selected); if (one) this.onPick(one); },
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }

  /** Go to the next or the previous called defect. */
  step(by) {
    const called = this.model.inOrder(), now = this.model.defects.get(this.selected);
    const from = now ? now.along_mm[0] : this.following ? this.model.endMm : this.mmAt(this.width / 2);
    const next = by > 0 ? called.find((one) => one.along_mm[0] > from) : called.findLast((one) => one.along_mm[0] < from);
    if (next) { this.show(next); this.onPick(next); }
  }

  /** What lies at a point: `{defect}`, `{stretch}` that was not inspected, or null. */
  at(x, y) {
    const mm = this.mmAt(x), lane = this.laneNow?.find((one) => y >= one.top && y <= one.top + one.tall);
    if (!lane || x < GUTTER || mm > this.shownMm) return null;
    const near = NEAR_PX / this.pxPerMm, several = this.model.sides.length > 1;
    let best = null, bestAway = NEAR_PX;
    for (const defect of this.model.defectsIn(mm - near, mm + near)) {
      if (several && defect.side !== lane.side) continue;
      const [left, right] = defect.along_mm.map((one) => this.xOf(one)), [top, bottom] = defect.across_mm.map(lane.y);
      const away = Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));
      const middle = Math.hypot(x - (left + right) / 2, y - (top + bottom) / 2) / 1000;
      if (away + middle < bestAway) { best = defect; bestAway = away + middle; }
    }
    if (best) return { defect: best };
    const stretch = this.model.spansIn(mm, mm).find(([, , quality, , side]) => quality !== "inspected" && (!side || side === lane.side));
    return stretch ? { stretch } : { mm };
  }
}

/** Make a hatch: diagonal lines of a colour on a ground of it. Returns what gives the pattern for a context. */
function hatch(ink, step, thick, down, ground) {
  const tile = new OffscreenCanvas(step * 2, step * 2), context = tile.getContext("2d");
  context.fillStyle = ink;
  context.globalAlpha = ground;
  context.fillRect(0, 0, step * 2, step * 2);
  context.strokeStyle = ink;
  context.lineWidth = thick;
  context.globalAlpha = 0.8;
  context.beginPath();
  for (let at = -2 * step; at <= 4 * step; at += step) {
    context.moveTo(at, 0);
    context.lineTo(at + (down ? 2 : -2) * step, 2 * step);
  }
  context.stroke();
  return (on) => on.createPattern(tile, "repeat");
}
