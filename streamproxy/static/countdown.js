/** Counts seconds down by the clock on the wall: a tab that slept in between wakes up with the right number. */

import { duration } from "./texts.js";

const TICK_MS = 250;

export class Countdown {
  #due;
  #show;
  #timer;
  #left = -1;

  /** `show(left, time)` is called at once and whenever the number has changed, at last with 0; `left` is in seconds. */
  constructor(seconds, show) {
    this.#due = Date.now() + seconds * 1000;
    this.#show = show;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#tick();
  }

  stop() {
    clearInterval(this.#timer);
  }

  #tick() {
    const left = Math.max(0, Math.ceil((this.#due - Date.now()) / 1000));
    if (left === 0) this.stop();
    if (left === this.#left) return;
    this.#left = left;
    this.#show(left, duration(left));
  }
}
