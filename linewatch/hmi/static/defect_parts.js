// Parts of pages about one defect: class scores, where it lies, its neighbours.
import { className, labelWords, metres } from "/static/coil_words.js";
import { drawn, element } from "/static/dom.js";
import { pictureOf } from "/static/defect_view.js";
import { colour } from "/static/palette.js";
import { number, percent, t } from "/static/texts.js";

/** The probability, and the score of each class as a bar. */
export function scores(defect) {
  const line = (name, share, ink) => element("div", { class: "score" }, name,
    drawn("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      drawn("rect", { x: 0, y: 0, width: 100, height: 10, fill: "var(--sunk)" }), drawn("rect", { x: 0, y: 0, width: Math.max(0.5, 100 * share), height: 10, fill: ink })),
    element("span", {}, percent(share, 0)));
  return element("div", {},
    line(element("b", {}, t("a true defect")), defect.probability, "var(--accent)"),
    ...defect.scores.map(([name, score]) => line(className(name), score, colour(name))),
    element("p", { class: "soft" }, defect.tentative ? t("Tentative: too improbable to be called. It neither grades nor alarms.") : t("Called: it grades and alarms.")));
}

/** Facts for a <dl class="facts">. */
export function facts(defect) {
  const fact = (label, value, unit = "") => element("div", {}, element("dt", {}, label), element("dd", {}, value, element("small", {}, unit && ` ${unit}`)));
  return [
    fact(t("from the head"), metres(defect.along_mm[0], 2), "m"), fact(t("from the tail"), metres(defect.from_tail_mm[0], 2), "m"),
    fact(t("across"), `${number(defect.across_mm[0])}–${number(defect.across_mm[1])}`, "mm"), fact(t("to the edge"), number(defect.edge_mm), "mm"),
    fact(t("length × width"), `${number(defect.length_mm, 1)} × ${number(defect.width_mm, 1)}`, "mm"), fact(t("area"), number(defect.area_mm2), "mm²"),
    fact(t("angle to the strip"), number(defect.orientation_deg), "°"), fact(t("contrast"), defect.contrast === null ? "–" : percent(defect.contrast, 0)),
    fact(t("severity"), number(defect.severity)),
  ];
}

/** The neighbours as small pictures, the nearest first. */
export function neighbours(found) {
  const middle = (one) => [(one.along_mm[0] + one.along_mm[1]) / 2, (one.across_mm[0] + one.across_mm[1]) / 2];
  const [along, across] = middle(found.defect);
  const card = (one) => {
    const picture = element("img", { src: pictureOf(one.number), alt: "", loading: "lazy" });
    picture.addEventListener("error", () => picture.replaceWith(element("span", { class: "none" }, t("no picture"))));
    const [a, b] = middle(one), apart = [a - along, b - across];
    const place = t("{along} m {way}, {across} mm {side}", {
      along: metres(Math.abs(apart[0]), 2), way: apart[0] >= 0 ? t("towards the tail") : t("towards the head"),
      across: number(Math.abs(apart[1])), side: apart[1] >= 0 ? t("further across") : t("nearer to the datum"),
    });
    return element("a", { href: `/defects/${one.number}` }, picture, className(one.class, one.tentative), element("small", { class: "soft" }, place), one.label ? element("small", {}, labelWords(one.label)) : null);
  };
  return found.neighbours.length ? element("div", { class: "near" }, found.neighbours.map(card)) : element("p", { class: "soft" }, t("No other defect lies within 20 m."));
}
