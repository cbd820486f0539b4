/** Scrolling along with an answer, unless the reader is reading further up. */

// Closer to the end than this (CSS pixels), the reader follows.
const NEAR_END = 80;

export class Follower {
  #scroller;
  #button;
  #following = true;

  /** `button` leads to the end; it shows while the end is out of sight. */
  constructor(scroller, button) {
    this.#scroller = scroller;
    this.#button = button;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    button.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.follow()).observe(scroller);
  }

  /** Something grew. */
  follow() {
    if (this.#following) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#button.hidden = this.#nearEnd;
  }

  toEnd() {
    this.#following = true;
    this.follow();
  }

  get #nearEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_END;
  }

  #scrolled() {
    this.#following = this.#nearEnd;
    this.#button.hidden = this.#following;
  }
}
