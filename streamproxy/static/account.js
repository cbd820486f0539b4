/**
 * Who asks and which model answers: the model picker, and the field for a token where guests are not welcome.
 *
 * A guest is known by a cookie that scripts cannot see; a token is kept for this tab and no longer.
 */

import * as api from "./api.js";
import { plainly } from "./texts.js";
import { make } from "./view.js";

const MODEL = "streamproxy.model";
const $ = (id) => document.getElementById(id);

/** The model that was chosen; an upstream that names no models may still serve one that is written in. */
export function chosenModel() {
  return $("picker").hidden ? $("model-name").value.trim() : $("model").value;
}

export class Account {
  #onReady;
  #onFault;
  #onLeave;

  /** `onReady`: questions may be asked now. `onFault(fault)`: the server cannot say. `onLeave`: signed out. */
  constructor({ onReady, onFault, onLeave }) {
    this.#onReady = onReady;
    this.#onFault = onFault;
    this.#onLeave = onLeave;
    $("sign-in").addEventListener("submit", (event) => this.#signIn(event));
    $("sign-out").addEventListener("click", () => this.#signOut());
    for (const field of [$("model"), $("model-name")]) {
      field.addEventListener("change", () => localStorage.setItem(MODEL, chosenModel()));
    }
  }

  /** Learn from the server whether it knows us. */
  async begin() {
    try {
      showModels(await api.models());
      this.#show(null);
    } catch (fault) {
      if (fault.status === 401) this.#show(fault);
      else this.#onFault(fault);
    }
  }

  /** The server does not know us any more: a guest gets a new cookie, everybody else is asked for a token. */
  async beginAgain() {
    await api.welcome().catch(() => null);
    await this.begin();
  }

  #show(fault) {
    const known = fault === null;
    $("sign-in").hidden = known;
    document.body.classList.toggle("stranger", !known);
    $("sign-out").hidden = !known || api.token.get() === null;
    $("sign-in-fault").textContent = !known && api.token.get() !== null ? plainly(fault) : "";
    if (known) this.#onReady();
    else $("token").focus();
  }

  #signIn(event) {
    event.preventDefault();
    api.token.set($("token").value.trim());
    $("token").value = "";
    this.begin();
  }

  #signOut() {
    api.token.forget();
    this.#onLeave();
    this.beginAgain();
  }
}

function showModels(names) {
  const kept = localStorage.getItem(MODEL);
  $("model").replaceChildren(...names.map((name) => make("option", [name], { value: name })));
  if (names.includes(kept)) $("model").value = kept;
  $("picker").hidden = names.length === 0;
  $("model-name").hidden = names.length > 0;
  $("model-name").value = kept ?? "";
}
