// Parts of pages about coils: grade, shares, classes with their marks.
import { drawn, element } from "/static/dom.js";
import { mark, words } from "/static/palette.js";
import { number, percent, t } from "/static/texts.js";

/** The grade as a tag. "ungraded" comes from the service: too little was inspected. */
export const gradeTag = (grade, running = false) =>
  element("span", { class: "tag", "data-kind": grade === "ungraded" ? "warn" : null }, grade ?? (running ? t("running") : t("not graded")));

/** A share as a bar with its figure. */
export function shareBar(share) {
  const width = Math.max(0, Math.min(1, share ?? 0)) * 64;
  return element("span", { class: "bar-line" },
    drawn("svg", { class: "share", viewBox: "0 0 64 8", "aria-hidden": "true" },
      drawn("rect", { x: 0, y: 0, width: 64, height: 8, rx: 2, fill: "var(--bad)" }), drawn("rect", { x: 0, y: 0, width, height: 8, rx: 2, fill: "var(--good)" })),
    percent(share, 1));
}

/** Classes with marks and counts, the most frequent first. */
export function classCounts(counts, most = 4) {
  const all = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  const shown = all.slice(0, most).map(([name, count]) => element("span", {}, mark(name), ` ${words(name)} ${number(count)}`));
  if (all.length > most) shown.push(element("span", { class: "soft" }, t("and {count} more", { count: all.length - most })));
  return element("span", { class: "classes" }, shown.length ? shown : element("span", { class: "soft" }, t("none")));
}

export const metres = (mm, decimals = 1) => number(mm / 1000, decimals);

/** The smallest of 1, 2 or 5 times a power of ten that is at least this. */
export function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least || 1));
  return power * [1, 2, 5, 10].find((one) => one * power >= least * (1 - 1e-9));
}

/** The mark of a class and its name. */
export const className = (name, hollow = false) => element("span", { class: "class-name" }, mark(name, hollow), ` ${words(name)}`);

/** A label in words. */
export function labelWords(label) {
  if (!label) return "";
  const said = { right: t("right"), "not-a-defect": t("not a defect"), "wrong-class": t("is {name}", { name: words(label.right_class ?? "") }) };
  return said[label.verdict] ?? label.verdict;
}
