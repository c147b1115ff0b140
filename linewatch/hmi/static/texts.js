// Texts in the page's language, and numbers and times as that language writes them, in the plant's zone.
const root = document.documentElement;
export const language = root.lang;
export const zone = root.dataset.zone;
/** Dates with the day first, the month in English as a word, and 24 hours: 01/12 is read in two ways. */
const locale = language === "en" ? "en-GB" : language;
const DAY = { year: "numeric", month: language === "en" ? "short" : "2-digit", day: language === "en" ? "numeric" : "2-digit" };

const catalogue = language === "en" ? {} : await (await fetch(`/catalogue/${language}.json`)).json();

/** The text in the page's language, with its {names} filled in. */
export function t(text, values = {}) {
  return (catalogue[text] ?? text).replace(/\{(\w+)\}/g, (all, name) => (name in values ? String(values[name]) : all));
}

/** A text as it is, for a table of texts that t() looks up later. */
export const N_ = (text) => text;

const formats = new Map();

/** A number with so many decimals; "–" where there is none. */
export function number(value, decimals = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (!formats.has(decimals)) {
    formats.set(decimals, new Intl.NumberFormat(locale, { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
  }
  return formats.get(decimals).format(value);
}

/** A share as a percentage, rounded down, so that only the whole reads 100 %. */
export function percent(share, decimals = 1) {
  if (share === null || share === undefined) return "–";
  const scale = 10 ** (decimals + 2);
  return `${number(Math.floor(share * scale + 1e-6) / 10 ** decimals, decimals)} %`;
}

const clock = new Intl.DateTimeFormat(locale, { timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const date = new Intl.DateTimeFormat(locale, { timeZone: zone, ...DAY });

/** The time of day in the plant's zone. */
export const timeOfDay = (unixMs) => clock.format(unixMs);

/** The date in the plant's zone, on one line. */
export const dateOf = (unixMs) => date.format(unixMs).replaceAll(" ", "\u00a0");

/** Date and time of day in the plant's zone. */
export const dateAndTime = (unixMs) => `${dateOf(unixMs)} ${clock.format(unixMs)}`;

const plainDate = new Intl.DateTimeFormat(locale, { timeZone: "UTC", ...DAY });

/** A calendar day, "2026-11-30", as the language writes it. */
export const dayOf = (day) => plainDate.format(new Date(`${day}T00:00:00Z`));

const isoDate = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" });

/** The calendar day of a time in the plant's zone, "2026-11-30". */
export const dayIn = (unixMs) => isoDate.format(unixMs);
