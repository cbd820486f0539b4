/** One answer on the page: text that types itself, then a note of how it ended, or a fault with what to do. */

import { duration, plainly, texts } from "./texts.js";
import { make, MarkdownView } from "./view.js";

const TICK_MS = 24;
// A burst is typed out within about this many ticks, so that nothing lags behind for long.
const BURST_TICKS = 7;
const letters = globalThis.Intl?.Segmenter ? new Intl.Segmenter() : null;

/** Text arrives in bursts and leaves evenly. `show(text, {growing})` is called with all that may be seen by now. */
class Typewriter {
  #show;
  #text = "";
  #shown = 0;
  #timer = null;
  #ending = null;

  constructor(show) {
    this.#show = show;
  }

  add(text) {
    this.#text += text;
    this.#timer ??= setTimeout(() => this.#type(), 0);
  }

  /** Resolves when everything is shown; `atOnce` does not let it type any more. */
  end({ atOnce }) {
    if (atOnce || document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches) this.#shown = this.#text.length;
    return new Promise((resolve) => {
      this.#ending = resolve;
      this.#timer ??= setTimeout(() => this.#type(), 0);
    });
  }

  #type() {
    const left = this.#text.length - this.#shown;
    this.#shown += whole(this.#text.slice(this.#shown, this.#shown + 512), Math.ceil(left / BURST_TICKS));
    const waits = this.#shown < this.#text.length;
    this.#timer = waits ? setTimeout(() => this.#type(), TICK_MS) : null;
    const over = !waits && this.#ending !== null;
    this.#show(this.#text.slice(0, this.#shown), { growing: !over });
    if (over) this.#ending();
  }
}

/** At least `count` code units of `text`, without cutting a letter or an emoji in two. */
function whole(text, count) {
  if (count >= text.length || letters === null) return Math.max(count, 0);
  const letter = letters.segment(text).containing(Math.max(count - 1, 0));
  return letter ? letter.index + letter.segment.length : count;
}

export class AnswerView {
  element = make("li", [], { class: "answer waiting" });
  #body = make("div", [], { class: "prose" });
  #status = make("p", [texts.waiting], { class: "status" });
  #markdown = new MarkdownView(this.#body);
  #typewriter;
  #countdown = null;

  /** `onGrow` is called after every change of height. */
  constructor({ onGrow }) {
    this.element.append(make("h2", [texts.answer], { class: "unseen" }), this.#body, this.#status);
    this.#typewriter = new Typewriter((text, how) => {
      this.#markdown.update(text, how);
      onGrow();
    });
  }

  /** Text of the answer has come. */
  say(text) {
    this.element.classList.replace("waiting", "typing");
    this.#status.textContent = "";
    this.#typewriter.add(text);
  }

  /** The model thinks and does not speak yet. */
  think() {
    if (this.element.classList.contains("waiting")) this.#status.textContent = texts.thinking;
  }

  /** It is over; `notes` are small lines below. */
  async end(notes, { atOnce = false } = {}) {
    await this.#typewriter.end({ atOnce });
    this.element.classList.remove("waiting", "typing");
    this.#status.replaceChildren(...notes.filter(Boolean).map((note) => make("span", [note])));
  }

  /** It failed. `retry` is called when the reader wants to ask again, which waits as long as the server said. */
  async fail(fault, retry) {
    await this.end([]);
    const wait = make("span", [], { class: "wait" });
    const again = make("button", [texts.tryAgain], { type: "button", class: "quiet outlined" });
    again.addEventListener("click", retry);
    const request = fault.requestId ? [make("small", [`${texts.request} ${fault.requestId}`])] : [];
    const words = make("p", [plainly(fault), " ", wait]);
    this.element.append(make("div", [words, make("div", [again, ...request], { class: "row" })], { class: "trouble" }));
    if (fault.retryAfter) this.#countDown(fault.retryAfter, wait, again);
  }

  /** Nobody waits for this answer any more. */
  abandon() {
    clearInterval(this.#countdown);
    for (const offer of this.element.querySelectorAll(".trouble :is(button, .wait)")) offer.remove();
  }

  #countDown(seconds, place, button) {
    const due = performance.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((due - performance.now()) / 1000);
      place.textContent = left > 0 ? texts.wait(duration(left)) : texts.goOn;
      button.disabled = left > 0;
      if (left <= 0) clearInterval(this.#countdown);
    };
    this.#countdown = setInterval(tick, 250);
    tick();
  }
}
