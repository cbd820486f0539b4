/** Usage on the operator's page: bars by day, and sums by model and by user. */

import { barChart } from "./chart.js";
import { money, short, table, whole } from "./table.js";
import { make } from "./view.js";

const $ = (id) => document.getElementById(id);
const DAYS = 30;
const DAY_MS = 86_400_000;
const MOST = 8;
// Until the page knows its own.
const WIDTH = 720;

const MEASURES = {
  streams: { name: "Streams", of: (row) => row.streams, written: short },
  tokens: { name: "Tokens", of: (row) => row.prompt_tokens + row.completion_tokens, written: short },
  cost: { name: "Cost", of: (row) => Number(row.cost_usd), written: money },
};

export class Usage {
  #rows = null;
  #measure = "streams";

  constructor() {
    for (const button of $("measure").children) {
      button.addEventListener("click", () => {
        this.#measure = button.dataset.measure;
        for (const one of $("measure").children) one.ariaPressed = String(one === button);
        if (this.#rows) this.#draw();
      });
    }
    new ResizeObserver(() => this.#rows && this.#drawChart()).observe($("chart"));
  }

  show(rows) {
    this.#rows = rows;
    this.#draw();
  }

  /** Sum of a measure over the rows that `wanted` lets through. */
  total(measure, wanted = () => true) {
    return sum((this.#rows ?? []).filter(wanted), MEASURES[measure].of);
  }

  #draw() {
    this.#drawChart();
    $("by-model").replaceChildren(...this.#sums("Model", (row) => row.model));
    $("by-user").replaceChildren(...this.#sums("User", (row) => row.user_name ?? "guests"));
  }

  #drawChart() {
    const measure = MEASURES[this.#measure];
    const points = lastDays().map((day) => ({
      label: day.slice(5),
      value: sum(this.#rows.filter((row) => row.day === day), measure.of),
    }));
    $("chart").replaceChildren(barChart(points, { ...measure, width: $("chart").clientWidth || WIDTH }));
  }

  #sums(title, nameOf) {
    const groups = [...Map.groupBy(this.#rows, nameOf)].map(([name, rows]) => ({ name, rows }));
    const measure = MEASURES[this.#measure];
    groups.sort((one, other) => sum(other.rows, measure.of) - sum(one.rows, measure.of));
    const columns = [
      { title, value: ({ name }) => name, kind: "code" },
      { title: "Streams", value: ({ rows }) => whole(sum(rows, MEASURES.streams.of)), kind: "number" },
      { title: "Tokens", value: ({ rows }) => short(sum(rows, MEASURES.tokens.of)), kind: "number" },
      { title: "Cost", value: ({ rows }) => money(sum(rows, MEASURES.cost.of)), kind: "number" },
    ];
    const more = groups.length > MOST ? [make("p", [`and ${groups.length - MOST} more`], { class: "fine" })] : [];
    return [make("h3", [`By ${title.toLowerCase()}`]), table(columns, groups.slice(0, MOST), "Nothing was used."), ...more];
  }
}

/** UTC days as the server writes them, oldest first. */
export function lastDays() {
  const today = Date.now();
  return Array.from({ length: DAYS }, (_, i) => new Date(today - (DAYS - 1 - i) * DAY_MS).toISOString().slice(0, 10));
}

function sum(rows, of) {
  return rows.reduce((total, row) => total + of(row), 0);
}
