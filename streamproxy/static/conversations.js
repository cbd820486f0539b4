/** The list of conversations, the one spoken in last first. */

import * as api from "./api.js";
import { texts } from "./texts.js";
import { iconButton, make } from "./view.js";

const DAY_MS = 86_400_000;
const LONGEST_TITLE = 80;

export class Conversations {
  #element;
  #known = [];
  #more = null;
  #current = "";
  #onOpen;
  #onForget;

  /** `onOpen(id)` is called for the one that is chosen, `onForget(id)` after one was forgotten. */
  constructor(element, { onOpen, onForget }) {
    this.#element = element;
    this.#onOpen = onOpen;
    this.#onForget = onForget;
  }

  /** Ask the server for the first page. */
  async load() {
    this.#known = [];
    await this.#loadMore("");
  }

  clear() {
    this.#known = [];
    this.#more = null;
    this.#show();
  }

  /** Somebody has just spoken in this one. */
  touch(id, text) {
    const title = this.#known.find((one) => one.id === id)?.title ?? text.replace(/\s+/g, " ").slice(0, LONGEST_TITLE);
    this.#known = [{ id, title, updated: Date.now() / 1000 }, ...this.#known.filter((one) => one.id !== id)];
    this.#show();
  }

  /** This one is on the page. */
  select(id) {
    this.#current = id;
    this.#show();
  }

  async #loadMore(after) {
    const page = await api.conversations({ after });
    const listed = new Set(this.#known.map(({ id }) => id));
    this.#known.push(...page.data.filter(({ id }) => !listed.has(id)));
    this.#more = page.has_more ? page.last_id : null;
    this.#show();
  }

  #show() {
    const groups = Map.groupBy(this.#known, ({ updated }) => dayOf(updated * 1000));
    const lists = [...groups].flatMap(([day, ones]) => [
      make("h2", [texts[day]]),
      make("ul", ones.map((one) => this.#item(one))),
    ]);
    const more = this.#more === null ? [] : [this.#moreButton()];
    const nothing = lists.length === 0 ? [make("p", [texts.noConversations], { class: "nothing" })] : [];
    this.#element.replaceChildren(...lists, ...more, ...nothing);
  }

  #item({ id, title }) {
    const current = id === this.#current ? { "aria-current": "page" } : {};
    const open = make("button", [title || texts.untitled], { type: "button", class: "open", title, ...current });
    open.addEventListener("click", () => this.#onOpen(id));
    return make("li", [open, this.#forgetButton(id)]);
  }

  /** Asks once more before it forgets: there is no way back. */
  #forgetButton(id) {
    const first = iconButton("forget", texts.forget, () => {
      const sure = make("button", [texts.forgetReally], { type: "button", class: "sure" });
      sure.addEventListener("click", () => this.#forget(id));
      sure.addEventListener("blur", () => sure.replaceWith(first));
      first.replaceWith(sure);
      sure.focus();
    });
    return first;
  }

  async #forget(id) {
    await api.forget(id).catch((fault) => {
      if (fault.status !== 404) throw fault;
    });
    this.#known = this.#known.filter((one) => one.id !== id);
    this.#show();
    this.#onForget(id);
  }

  #moreButton() {
    const more = make("button", [texts.more], { type: "button", class: "quiet more" });
    more.addEventListener("click", () => this.#loadMore(this.#more));
    return more;
  }
}

function dayOf(time) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (time >= midnight) return "today";
  return time >= midnight - DAY_MS ? "yesterday" : "earlier";
}
