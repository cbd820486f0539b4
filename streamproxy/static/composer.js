/** The field that questions are written in, with one button to send and one to stop. */

import { texts } from "./texts.js";

const $ = (id) => document.getElementById(id);

export class Composer {
  #field = $("question");
  #busy = false;
  #blocked = false;
  #onSend;

  /** `onSend(text, {draw})` is called with what was written, `onStop()` when the answer has been enough. */
  constructor({ onSend, onStop }) {
    this.#onSend = onSend;
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#field.addEventListener("input", () => this.#fit());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    $("stop").addEventListener("click", onStop);
    $("draw").addEventListener("click", () => this.#toggleDraw(!this.#draws));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing && this.#busy) onStop();
    });
  }

  /** While an answer is written, Send is Stop; a new question may be drafted meanwhile. */
  set busy(busy) {
    this.#busy = busy;
    // Hiding a focused button would lose the keyboard's place.
    const moves = [$("send"), $("stop")].includes(document.activeElement);
    $("stop").hidden = !busy;
    $("send").hidden = busy;
    if (moves) this.focus();
    this.#fit();
  }

  /** No question would be taken now. */
  set blocked(blocked) {
    this.#blocked = blocked;
    this.#fit();
  }

  focus() {
    this.#field.focus({ preventScroll: true });
  }

  get #draws() {
    return $("draw").ariaPressed === "true";
  }

  #toggleDraw(draws) {
    $("draw").ariaPressed = String(draws);
    this.#field.placeholder = draws ? texts.drawHint : texts.questionHint;
    this.focus();
  }

  #send() {
    const text = this.#field.value.trim();
    if (text === "" || this.#busy || this.#blocked) return;
    const draw = this.#draws;
    this.#field.value = "";
    this.#toggleDraw(false);
    this.#fit();
    this.#onSend(text, { draw });
  }

  #key(event) {
    // An Enter that ends the composition of a Chinese word is not meant for us (Safari says so by keyCode 229).
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#send();
  }

  #fit() {
    $("send").disabled = this.#blocked || this.#field.value.trim() === "";
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}
