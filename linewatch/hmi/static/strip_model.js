// The strip of the coil under the camera, as the stream tells it: found quickly by where it lies.

const BIN_MM = 5_000;
const MOST_EDGES = 30_000;
/** As many as the page's server keeps; a strip without an end must not fill the browser's memory. */
const MOST_DEFECTS = 20_000;

export class StripModel {
  constructor() { this.begin({}); }

  /** Begin with the whole state. */
  begin({ strip = null, defects = [], roll_marks = [] }) {
    this.defects = new Map();
    this.bins = new Map();
    this.spans = strip?.spans.map((span) => [...span]) ?? [];
    this.edges = strip?.edges.map((edge) => [...edge]) ?? [];
    this.rollMarks = new Map(roll_marks.map((mark) => [mark.id, mark]));
    this.endMm = Math.max(0, this.edges.at(-1)?.[1] ?? 0, this.spans.at(-1)?.[1] ?? 0);
    this.sides = this.sidesTold?.length ? this.sidesTold : ["top"];
    this.acrossMm = [0, 800];
    this.acrossKnown = false;
    this.relaid = true;
    for (const edge of this.edges) this.widen(edge[2], edge[3]);
    for (const defect of defects) this.put(defect);
  }

  /** Take news in; returns the stretches along, [from, to] in mm, that have to be drawn anew. */
  add({ strip = [], defects = [], roll_marks = [] }) {
    const changed = [];
    for (const { spans, edge } of strip) {
      for (const span of spans) { this.lay(span); changed.push([span[0], span[1]]); }
      this.addEdge(edge);
      changed.push([edge[0], edge[1]]);
      this.endMm = Math.max(this.endMm, edge[1]);
    }
    for (const defect of defects) {
      const before = this.defects.get(defect.id);
      if (before) { this.take(before); changed.push(before.along_mm); }
      if (!defect.gone) { this.put(defect); changed.push(defect.along_mm); }
    }
    for (const mark of roll_marks) { this.rollMarks.set(mark.id, mark); changed.push(mark.along_mm); }
    return changed;
  }

  /** The sides that the service has cameras on, where it tells them. */
  setSides(sides) {
    this.sidesTold = sides;
    if (sides.length && sides.join() !== this.sides.join()) { this.sides = sides; this.relaid = true; }
  }

  put(defect) {
    this.defects.set(defect.id, defect);
    if (this.defects.size > MOST_DEFECTS) this.take(this.defects.values().next().value);
    this.widen(...defect.across_mm);
    for (const bin of binsOf(defect.along_mm)) {
      if (!this.bins.has(bin)) this.bins.set(bin, new Map());
      this.bins.get(bin).set(defect.id, defect);
    }
    if (!this.sides.includes(defect.side)) {
      const all = new Set(this.sidesTold?.length || this.defects.size > 1 ? [...this.sides, defect.side] : [defect.side]);
      this.sides = [...all].sort().reverse(); // top above bottom
      this.relaid = true;
    }
  }

  take(defect) {
    this.defects.delete(defect.id);
    for (const bin of binsOf(defect.along_mm)) {
      this.bins.get(bin)?.delete(defect.id);
      if (!this.bins.get(bin)?.size) this.bins.delete(bin);
    }
  }

  widen(left, right) {
    if (left === null || right === null || left === undefined) return;
    const [low, high] = this.acrossMm;
    const wanted = [Math.floor((left - 10) / 50) * 50, Math.ceil((right + 10) / 50) * 50];
    const next = this.acrossKnown ? [Math.min(low, wanted[0]), Math.max(high, wanted[1])] : wanted;
    this.acrossKnown = true;
    if (next[0] !== low || next[1] !== high) { this.acrossMm = next; this.relaid = true; }
  }

  addEdge(edge) {
    const last = this.edges.at(-1);
    const same = last && Math.abs(last[1] - edge[0]) < 0.01 && close(last[2], edge[2]) && close(last[3], edge[3]);
    if (same) last[1] = edge[1]; else this.edges.push([...edge]);
    if (this.edges.length > MOST_EDGES) this.edges.splice(0, MOST_EDGES / 10);
    this.widen(edge[2], edge[3]);
  }

  lay(span) {
    const last = this.spans.at(-1);
    if (!last || last[1] <= span[0] + 0.01) {
      if (last && Math.abs(last[1] - span[0]) < 0.01 && last.slice(2).join() === span.slice(2).join()) last[1] = span[1];
      else this.spans.push([...span]);
      if (this.spans.length > MOST_EDGES) this.spans.splice(0, MOST_EDGES / 10);
      return;
    }
    const kept = [];
    for (const one of this.spans) {
      if (one[1] <= span[0] || one[0] >= span[1]) { kept.push(one); continue; }
      if (one[0] < span[0]) kept.push([one[0], span[0], ...one.slice(2)]);
      if (one[1] > span[1]) kept.push([span[1], one[1], ...one.slice(2)]);
    }
    this.spans = [...kept, [...span]].sort((a, b) => a[0] - b[0]);
  }

  *defectsIn(from, to) {
    const seen = to - from > BIN_MM ? new Set() : null;
    for (const bin of binsOf([from, to])) {
      for (const defect of this.bins.get(bin)?.values() ?? []) {
        if (defect.along_mm[0] > to || defect.along_mm[1] < from || seen?.has(defect.id)) continue;
        seen?.add(defect.id);
        yield defect;
      }
    }
  }

  spansIn(from, to) { return within(this.spans, from, to); }
  edgesIn(from, to) { return within(this.edges, from, to); }
  rollMarksIn(from, to) { return [...this.rollMarks.values()].filter((mark) => mark.along_mm[0] - mark.pitch_mm <= to && mark.along_mm[1] + mark.pitch_mm >= from); }

  /** The called defects, from the head on. */
  inOrder() { return [...this.defects.values()].filter((one) => !one.tentative).sort((a, b) => a.along_mm[0] - b.along_mm[0]); }
}

function binsOf([from, to]) {
  const first = Math.floor(from / BIN_MM), count = Math.min(4_000, Math.floor(to / BIN_MM) - first + 1);
  return Array.from({ length: Math.max(1, count) }, (_, i) => first + i);
}

/** The rows [begin, end, ...] of a sorted list that touch [from, to]. */
function within(rows, from, to) {
  let low = 0, high = rows.length;
  while (low < high) { const at = (low + high) >> 1; if (rows[at][1] < from) low = at + 1; else high = at; }
  let end = low;
  while (end < rows.length && rows[end][0] <= to) end++;
  return rows.slice(low, end);
}

const close = (a, b) => (a === null) === (b === null) && (a === null || Math.abs(a - b) < 1);
