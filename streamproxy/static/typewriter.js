/** Text arrives in bursts and leaves evenly. */

const TICK_MS = 24;
// A burst is typed out within about this many ticks, so that nothing lags behind for long.
const BURST_TICKS = 7;
const letters = globalThis.Intl?.Segmenter ? new Intl.Segmenter() : null;

export class Typewriter {
  #show;
  #text = "";
  #shown = 0;
  #timer = null;
  #ending = null;

  /** `show(text, {growing})` is called with all that may be seen by now. */
  constructor(show) {
    this.#show = show;
  }

  /** All that has arrived. */
  get text() {
    return this.#text;
  }

  add(text) {
    this.#text += text;
    this.#timer ??= setTimeout(() => this.#type(), 0);
  }

  /** Text that was read before: nobody wants to see it typed again. */
  put(text) {
    this.#text += text;
    this.#shown = this.#text.length;
    this.#show(this.#text, { growing: true });
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
