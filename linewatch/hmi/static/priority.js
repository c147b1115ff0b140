// The mark of a priority (ISA-18.2): told by shape, number and colour, so that colour alone says nothing.
import { drawn, element } from "/static/dom.js";
import { N_, t } from "/static/texts.js";

/** The most urgent first. */
export const PRIORITIES = ["urgent", "high", "medium", "low"];

const NAMES = { urgent: N_("urgent"), high: N_("high"), medium: N_("medium"), low: N_("low") };
const SHAPES = {
  urgent: "M7.5 1.5h9l6 6v9l-6 6h-9l-6-6v-9z", // octagon
  high: "M12 1.5L23 21.5H1z", // triangle
  medium: "M12 .8L23.2 12L12 23.2L.8 12z", // diamond
  low: "M1.5 12a10.5 10.5 0 1 0 21 0a10.5 10.5 0 1 0-21 0z", // disc
};
const NUMBER_AT = { urgent: 16.4, high: 18.6, medium: 16.4, low: 16.4 };

export const priorityName = (priority) => t(NAMES[priority] ?? priority);

/** A small picture of a priority with its number: 1 is urgent. */
export function priorityMark(priority) {
  const svg = drawn("svg", { viewBox: "0 0 24 24", class: "priority", "data-priority": priority, role: "img", "aria-label": priorityName(priority) });
  svg.append(
    drawn("path", { d: SHAPES[priority] ?? SHAPES.low }),
    drawn("text", { x: 12, y: NUMBER_AT[priority] ?? 16.4, "text-anchor": "middle" }, String(PRIORITIES.indexOf(priority) + 1)));
  return svg;
}

/** The mark with its name behind it. */
export const priorityTag = (priority) => element("span", { class: "priority-tag" }, priorityMark(priority), priorityName(priority));

/** What asks more urgently stands first; of equals, the newest. */
export function byUrgency(a, b) {
  const rank = (alarm) => PRIORITIES.indexOf(alarm.priority) + (alarm.acked_state ? 10 : 0);
  return rank(a) - rank(b) || (b.since_unix_ms ?? 0) - (a.since_unix_ms ?? 0);
}
