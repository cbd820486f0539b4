/** Where the limits stand, in plain words: what is left of them, and when there will be more. */

import { Countdown } from "./countdown.js";
import { count, period, texts } from "./texts.js";

const KEPT = "streamproxy.limits";
// Tokens are of interest when they become scarce.
const SCARCE = 0.2;

export class Limits {
  #element;
  #onBlocked;
  #countdown = null;
  #timer = null;

  /** `onBlocked(blocked)`: no question will be taken now, or again one will. */
  constructor(element, { onBlocked }) {
    this.#element = element;
    this.#onBlocked = onBlocked;
    this.#show();
  }

  /** Read the RateLimit fields of an answer (draft-ietf-httpapi-ratelimit-headers-10). @param {Headers} headers */
  read(headers) {
    const now = Date.now();
    const policies = items(headers.get("RateLimit-Policy"));
    const standings = items(headers.get("RateLimit")).map(({ name, r, t }) => {
      const policy = policies.find((one) => one.name === name);
      return { unit: name.split("-")[0], limit: policy?.q, seconds: policy?.w, remaining: r, until: now + t * 1000 };
    });
    sessionStorage.setItem(KEPT, JSON.stringify(standings));
    this.#show();
  }

  /** A question was refused; the next one is taken after `seconds`, if that is known. */
  refuse(seconds) {
    if (!seconds) return;
    this.#countdown?.stop();
    this.#element.classList.add("blocked");
    this.#onBlocked(true);
    this.#countdown = new Countdown(seconds, (left, time) => {
      if (left > 0) this.#element.textContent = texts.blocked(time);
      else this.#free();
    });
  }

  /** Somebody else asks from now on. */
  forget() {
    sessionStorage.removeItem(KEPT);
    this.#free();
  }

  #free() {
    this.#countdown?.stop();
    this.#countdown = null;
    this.#element.classList.remove("blocked");
    this.#onBlocked(false);
    this.#show();
  }

  #show() {
    clearTimeout(this.#timer);
    if (this.#countdown) return;
    const now = Date.now();
    // What is past its time has grown back to the whole.
    const standings = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]").map((one) =>
      one.until > now ? one : { ...one, remaining: one.limit },
    );
    this.#element.textContent = standings.map(words).filter(Boolean).join(" · ");
    const next = Math.min(...standings.map(({ until }) => until).filter((until) => until > now));
    if (Number.isFinite(next)) this.#timer = setTimeout(() => this.#show(), next - now);
  }
}

function words({ unit, limit, seconds, remaining }) {
  if (!limit) return "";
  if (unit === "requests") return texts.left(count(remaining), count(limit), period(seconds));
  return remaining < limit * SCARCE ? texts.tokensLeft(count(remaining), count(limit), period(seconds)) : "";
}

/** `"a";r=1;t=2, "b";…` as `[{name: "a", r: 1, t: 2}, …]`. */
function items(field) {
  return (field ?? "").split(",").filter(Boolean).map((item) => {
    const [name, ...parameters] = item.trim().split(";");
    const numbers = parameters.map((parameter) => parameter.split("=")).map(([key, value]) => [key, Number(value)]);
    return { name: name.replaceAll('"', ""), ...Object.fromEntries(numbers) };
  });
}
