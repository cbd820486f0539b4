/** The model picker. An upstream that names no models may still serve one that is written in. */

import { make } from "./view.js";

const MODEL = "streamproxy.model";
const $ = (id) => document.getElementById(id);

export class Models {
  constructor() {
    for (const field of [$("model"), $("model-name")]) {
      field.addEventListener("change", () => localStorage.setItem(MODEL, this.chosen));
    }
  }

  get chosen() {
    return $("picker").hidden ? $("model-name").value.trim() : $("model").value;
  }

  /** @param {string[]} names */
  show(names) {
    const kept = localStorage.getItem(MODEL);
    $("model").replaceChildren(...names.map((name) => make("option", [name], { value: name })));
    if (names.includes(kept)) $("model").value = kept;
    $("picker").hidden = names.length === 0;
    $("model-name").hidden = names.length > 0;
    $("model-name").value = kept ?? "";
  }
}
