// Tables that are sorted by their heads and exported as CSV.
import { csv, download, element } from "/static/dom.js";
import { t } from "/static/texts.js";

/**
 * columns: `[{ key, title, value(row), show(row), number }]`. `value` is what is sorted and exported (default:
 * row[key]), `show` a text or a node (default: the value). Options: `sort: [key, "ascending"]`, `onOpen(row)` for a
 * click or Enter, `rowKey(row)` so that rows keep their place and focus, `empty`: the text without rows.
 */
export class Table {
  constructor(columns, { sort = null, onOpen = null, rowKey = null, empty = t("Nothing to show") } = {}) {
    Object.assign(this, { columns, sort, onOpen, rowKey, empty, rows: [] });
    this.heads = columns.map((column) => element("th", { class: column.number ? "number" : null, scope: "col" },
      element("button", { type: "button", onclick: () => this.sortBy(column) }, column.title)));
    this.body = element("tbody");
    this.node = element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {}, this.heads)), this.body));
  }

  /** Show these rows. */
  show(rows) {
    this.rows = rows;
    const column = this.sort && this.columns.find((one) => one.key === this.sort[0]);
    const sorted = column ? [...rows].sort((a, b) => this.compare(column, a, b)) : rows;
    this.columns.forEach((one, at) => {
      if (column === one) this.heads[at].setAttribute("aria-sort", this.sort[1]); else this.heads[at].removeAttribute("aria-sort");
    });
    const focused = document.activeElement?.dataset?.key;
    this.body.replaceChildren(...(sorted.length ? sorted.map((row) => this.line(row)) : [element("tr", {}, element("td", { class: "empty", colspan: this.columns.length }, this.empty))]));
    if (focused) [...this.body.children].find((line) => line.dataset.key === focused)?.focus();
  }

  /** Sort by a column, or the other way round. */
  sortBy(column) {
    const up = this.sort?.[0] === column.key && this.sort[1] === "ascending";
    this.sort = [column.key, up ? "descending" : "ascending"];
    this.show(this.rows);
  }

  /** Offer the rows as a CSV file. */
  export(name) {
    download(name, csv([this.columns.map((one) => one.title), ...this.rows.map((row) => this.columns.map((one) => value(one, row)))]), "text/csv");
  }

  compare(column, a, b) {
    const [x, y] = [value(column, a), value(column, b)];
    if (x === null || x === undefined) return 1;
    if (y === null || y === undefined) return -1;
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    return this.sort[1] === "ascending" ? order : -order;
  }

  line(row) {
    const open = this.onOpen && (() => this.onOpen(row));
    const attributes = open ? { tabindex: "0", onclick: open, onkeydown: (event) => { if (event.key === "Enter" && event.target === event.currentTarget) open(); } } : {};
    if (this.rowKey) attributes["data-key"] = this.rowKey(row);
    return element("tr", attributes, this.columns.map((one) => element("td", { class: one.number ? "number" : null }, one.show ? one.show(row) : value(one, row) ?? "–")));
  }
}

const value = (column, row) => (column.value ? column.value(row) : row[column.key]);
