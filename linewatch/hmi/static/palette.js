// Colour and shape of each class: stable over pages and coils, by the taxonomy's order; told apart without colour too.
// Classes of one shape have colours that stay far apart for every vision; tests/hmi/test_page_palette.py measures it.
const LIGHT = ["#2c17e8", "#412f06", "#8a8128", "#1f471f", "#b21fa3", "#64125b", "#1f3f47", "#1b8b98", "#213273", "#b22e1f", "#b7576a", "#c633eb", "#2478cc", "#5122bf"];
const DARK = ["#cdcd51", "#b362bc", "#c6eb33", "#33eba1", "#81a4da", "#cfe3f7", "#32ae3f", "#a58a1d", "#e89417", "#51cda7", "#c06d7d", "#f7d7cf", "#1094a2", "#4f8eee"];
const SHAPES = ["square", "disc", "diamond", "triangle", "wedge"];
const known = document.documentElement.dataset.classes.split(" ").filter(Boolean);
const mediaDark = matchMedia("(prefers-color-scheme: dark)");

export const isDark = () => {
  const theme = document.documentElement.dataset.theme;
  return theme === "dark" || (theme !== "light" && mediaDark.matches);
};

function code(name) {
  const at = known.indexOf(name);
  if (at >= 0) return at;
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) >>> 0;
  return known.length + (sum % 70);
}

/** The colour of a class. onPicture: as it is seen on gray steel, in either theme. */
export const colour = (name, onPicture = false) => (onPicture || isDark() ? DARK : LIGHT)[code(name) % LIGHT.length];
export const shape = (name) => SHAPES[code(name) % SHAPES.length];

/** The words of a class's name. */
export const words = (name) => name.replaceAll("_", " ");

/** Trace a shape around (x, y) on a canvas's path. */
export function trace(context, kind, x, y, r) {
  switch (kind) {
    case "square": context.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8); break;
    case "disc": context.moveTo(x + r, y); context.arc(x, y, r, 0, 2 * Math.PI); break;
    case "diamond": context.moveTo(x, y - r * 1.2); context.lineTo(x + r * 1.2, y); context.lineTo(x, y + r * 1.2); context.lineTo(x - r * 1.2, y); context.closePath(); break;
    case "triangle": context.moveTo(x, y - r * 1.1); context.lineTo(x + r * 1.1, y + r * 0.9); context.lineTo(x - r * 1.1, y + r * 0.9); context.closePath(); break;
    default: context.moveTo(x, y + r * 1.1); context.lineTo(x + r * 1.1, y - r * 0.9); context.lineTo(x - r * 1.1, y - r * 0.9); context.closePath();
  }
}

const PATHS = {
  square: "M2 2h10v10H2z", disc: "M1.5 7a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0z", diamond: "M7 .8L13.2 7L7 13.2L.8 7z",
  triangle: "M7 1.5L13 12.5H1z", wedge: "M7 12.5L13 1.5H1z",
};

/** A small SVG with the mark of a class; hollow for tentative defects. */
export function mark(name, hollow = false) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 14 14");
  svg.setAttribute("class", "mark");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[shape(name)]);
  path.setAttribute("stroke", colour(name));
  path.setAttribute("fill", hollow ? "none" : colour(name));
  svg.append(path);
  return svg;
}
