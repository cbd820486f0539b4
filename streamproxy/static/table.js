/** Tables of the operator's page, and how it writes numbers, times and money. */

import { make } from "./view.js";

const numbers = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/**
 * A table of `rows`. A column is `{title, value(row), kind}`; a value is text or an element, and `kind` is a class
 * (`number`, `code`, `tools`). Where there is nothing, `nothing` says so.
 */
export function table(columns, rows, nothing) {
  if (rows.length === 0) return make("p", [nothing], { class: "nothing" });
  const cell = (name, { kind }, content, more = {}) => make(name, [content], { ...(kind ? { class: kind } : {}), ...more });
  const head = make("tr", columns.map((column) => cell("th", column, column.title, { scope: "col" })));
  const body = rows.map((row) => make("tr", columns.map((column) => cell("td", column, column.value(row) ?? ""))));
  const whole = make("table", [make("thead", [head]), make("tbody", body)]);
  return make("div", [whole], { class: "scroll", tabindex: "0", role: "region", "aria-label": columns[0].title });
}

export function action(label, what, onClick) {
  const button = make("button", [label], { type: "button", class: "quiet", "aria-label": what });
  button.addEventListener("click", async () => {
    button.disabled = true;
    await onClick();
  });
  return button;
}

export function badge(text, kind) {
  return make("span", [text], { class: `badge ${kind}` });
}

export const whole = (number) => numbers.format(number);
export const short = (number) => compact.format(number);

/** US dollars: cents, or that it is less than one. */
export function money(usd) {
  if (usd > 0 && usd < 0.01) return "< $0.01";
  return `$${usd >= 100 ? whole(Math.round(usd)) : usd.toFixed(2)}`;
}

/** Epoch seconds as a moment of the reader's day. */
export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}

/** Seconds as `1:05` or `2:00:05`. */
export function span(seconds) {
  const [h, min, s] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), Math.floor(seconds % 60)];
  const two = (number) => String(number).padStart(2, "0");
  return h > 0 ? `${h}:${two(min)}:${two(s)}` : `${min}:${two(s)}`;
}
