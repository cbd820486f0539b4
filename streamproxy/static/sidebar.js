/** The side with the conversations: always there on wide screens, over the page on narrow ones. */

const $ = (id) => document.getElementById(id);
const wide = matchMedia("(min-width: 60rem)");

export class Sidebar {
  constructor() {
    $("side-open").addEventListener("click", () => this.open());
    $("side-close").addEventListener("click", () => this.close());
    $("scrim").addEventListener("click", () => this.close());
    $("side").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !wide.matches) {
        event.stopPropagation();
        this.close();
      }
    });
    wide.addEventListener("change", () => this.#show(false));
    this.#show(false);
  }

  open() {
    this.#show(true);
    $("side-close").focus();
  }

  /** Nothing happens where it is always there. */
  close() {
    if (wide.matches || $("side").inert) return;
    this.#show(false);
    $("side-open").focus();
  }

  #show(open) {
    $("side").classList.toggle("is-open", open);
    $("side").inert = !open && !wide.matches;
    $("room").inert = open && !wide.matches;
    $("scrim").hidden = !open || wide.matches;
    $("side-open").ariaExpanded = String(open);
  }
}
