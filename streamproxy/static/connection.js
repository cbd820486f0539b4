/** The line that says that the connection is lost, and when the next try is. */

import { Countdown } from "./countdown.js";
import { texts } from "./texts.js";

const $ = (id) => document.getElementById(id);

export class Connection {
  #countdown = null;

  /** `onRetry` is called by whoever does not want to wait. */
  constructor({ onRetry }) {
    $("lost-retry").addEventListener("click", onRetry);
  }

  /** `state` is a stream's; `retryAt` is in epoch milliseconds. */
  show(state, { retryAt } = {}) {
    this.#countdown?.stop();
    const lost = state === "reconnecting";
    $("lost").hidden = !lost;
    if (!lost) return;
    this.#countdown = new Countdown((retryAt - Date.now()) / 1000, (left, time) => {
      const waiting = left > 0 ? texts.lost(time) : texts.connecting;
      $("lost-text").textContent = navigator.onLine ? waiting : texts.offline;
    });
  }

  hide() {
    this.show("");
  }
}
