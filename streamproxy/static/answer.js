/** One answer on the page: text that types itself, then a line of what it was, or a fault with what to do. */

import { Countdown } from "./countdown.js";
import { plainly, texts } from "./texts.js";
import { Typewriter } from "./typewriter.js";
import { copyButton, iconButton, make, MarkdownView } from "./view.js";

export class AnswerView {
  element = make("li", [], { class: "answer waiting" });
  #body = make("div", [], { class: "prose" });
  #status = make("p", [texts.waiting], { class: "status" });
  #tools = make("div", [], { class: "tools" });
  #markdown = new MarkdownView(this.#body);
  #typewriter;
  #countdown = null;

  /** `onGrow` is called after every change of height. */
  constructor({ onGrow }) {
    const foot = make("div", [this.#status, this.#tools], { class: "foot" });
    this.element.append(make("h2", [texts.answer], { class: "unseen" }), this.#body, foot);
    this.#typewriter = new Typewriter((text, how) => {
      this.#markdown.update(text, how);
      onGrow();
    });
  }

  /** Text of the answer has come. */
  say(text) {
    this.#speaks();
    this.#typewriter.add(text);
  }

  /** Text of the answer that has been there before. */
  put(text) {
    if (text === "") return;
    this.#speaks();
    this.#typewriter.put(text);
  }

  /** Not text but an element. */
  show(element) {
    this.element.classList.remove("waiting", "typing");
    this.#body.append(element);
  }

  /** What happens while nothing is said yet, or no more. */
  note(text) {
    this.#status.replaceChildren(text);
  }

  think() {
    if (this.element.classList.contains("waiting")) this.note(texts.thinking);
  }

  /** It is over; `notes` are small lines below. */
  async end(notes, { atOnce = false } = {}) {
    await this.#typewriter.end({ atOnce });
    this.element.classList.remove("waiting", "typing");
    this.#status.replaceChildren(...notes.filter(Boolean).map((note) => make("span", [note])));
    const text = this.#typewriter.text;
    if (text) this.#tools.prepend(copyButton(() => text));
  }

  /** It may be asked for once more. */
  offer(again) {
    this.#tools.querySelector(".again")?.remove();
    if (again) this.#tools.append(iconButton("again", texts.again, again, "again"));
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
    if (!fault.retryAfter) return;
    this.#countdown = new Countdown(fault.retryAfter, (left, time) => {
      wait.textContent = left > 0 ? texts.wait(time) : texts.goOn;
      again.disabled = left > 0;
    });
  }

  /** Nobody waits for this answer any more. */
  abandon() {
    this.#countdown?.stop();
    for (const offer of this.element.querySelectorAll(".trouble :is(button, .wait)")) offer.remove();
    this.offer(null);
  }

  #speaks() {
    this.element.classList.replace("waiting", "typing");
    this.note("");
  }
}
