/** One question on the page, which may be edited and sent again. */

import { texts } from "./texts.js";
import { copyButton, iconButton, make } from "./view.js";

export class QuestionView {
  element = make("li", [], { class: "said" });
  #text;
  #onEdit;
  #hasLater;

  /** `onEdit(text)` is called with the question as it is to be sent again; `hasLater()`: whether more was said since. */
  constructor(text, { onEdit = null, hasLater = () => false } = {}) {
    this.#text = text;
    this.#onEdit = onEdit;
    this.#hasLater = hasLater;
    this.#show();
  }

  #show() {
    const tools = make("div", [copyButton(() => this.#text)], { class: "tools" });
    if (this.#onEdit) tools.append(iconButton("edit", texts.edit, () => this.#edit()));
    this.element.classList.remove("edited");
    this.element.replaceChildren(make("h2", [texts.you], { class: "unseen" }), make("p", [this.#text]), tools);
  }

  #edit() {
    const field = make("textarea", [], { "aria-label": texts.edit, rows: 1 });
    field.value = this.#text;
    const send = make("button", [texts.save], { class: "solid" });
    const cancel = make("button", [texts.cancel], { type: "button", class: "quiet" });
    const warning = this.#hasLater() ? [make("p", [texts.editForgets], { class: "fine" })] : [];
    const form = make("form", [field, ...warning, make("div", [cancel, send], { class: "row" })]);
    const leave = () => {
      this.#show();
      this.element.querySelector(".edit").focus();
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim() !== "") this.#onEdit(field.value.trim());
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing) {
        event.stopPropagation();
        leave();
      }
    });
    cancel.addEventListener("click", leave);
    this.element.classList.add("edited");
    this.element.replaceChildren(form);
    field.style.height = `${field.scrollHeight + 2}px`;
    field.focus();
  }
}
