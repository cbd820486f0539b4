/**
 * Who asks: a guest, somebody with a name and password, or the holder of a token.
 *
 * Guests and passwords are known by a cookie that scripts cannot see; a token is kept for this tab and no longer.
 */

import * as api from "./api.js";
import { plainly, texts } from "./texts.js";

const $ = (id) => document.getElementById(id);

export class Account {
  #onReady;
  #onFault;
  #onLeave;

  /** `onReady(me)`: questions may be asked now. `onFault(fault)`: the server cannot say. `onLeave`: somebody else is here. */
  constructor({ onReady, onFault, onLeave }) {
    this.#onReady = onReady;
    this.#onFault = onFault;
    this.#onLeave = onLeave;
    $("sign-in").addEventListener("submit", (event) => this.#signIn(event));
    $("sign-in-open").addEventListener("click", () => this.#ask(null, { guest: true }));
    $("sign-in-way").addEventListener("click", () => this.#chooseWay($("by-token").hidden));
    $("sign-in-cancel").addEventListener("click", () => this.begin());
    $("sign-out").addEventListener("click", () => this.#signOut());
  }

  /** Learn from the server whether it knows us. */
  async begin() {
    try {
      const me = await api.me();
      this.#show(me);
      await this.#onReady(me);
    } catch (fault) {
      if (fault.status === 401) this.#ask(api.token.get() === null ? null : fault);
      else this.#onFault(fault);
    }
  }

  /** The server does not know us any more: a guest gets a new cookie, everybody else is asked to sign in. */
  async beginAgain() {
    await api.welcome().catch(() => null);
    await this.begin();
  }

  #show({ name, role }) {
    const guest = role === "guest";
    $("sign-in").hidden = true;
    document.body.classList.remove("stranger");
    $("who").textContent = guest ? texts.guest : name;
    $("face").textContent = guest ? "" : Array.from(name)[0].toUpperCase();
    $("sign-in-open").hidden = !guest;
    $("sign-out").hidden = guest;
    $("operate").hidden = role !== "admin";
  }

  /** Ask who it is, and say why once more: `fault`. */
  #ask(fault, { guest = false } = {}) {
    $("sign-in").hidden = false;
    $("sign-in-cancel").hidden = !guest;
    document.body.classList.add("stranger");
    $("sign-in-fault").textContent = fault ? plainly(fault) : "";
    $("who").textContent = texts.guest;
    this.#chooseWay(!$("by-token").hidden);
  }

  #chooseWay(token) {
    $("by-token").hidden = !token;
    $("by-password").hidden = token;
    $("sign-in-way").textContent = token ? texts.withPassword : texts.withToken;
    $(token ? "token" : "name").focus();
  }

  async #signIn(event) {
    event.preventDefault();
    try {
      if ($("by-token").hidden) await api.signIn($("name").value.trim(), $("password").value);
      else api.token.set($("token").value.trim());
    } catch (fault) {
      $("sign-in-fault").textContent = plainly(fault);
      $("password").select();
      return;
    }
    $("password").value = $("token").value = "";
    this.#onLeave();
    await this.begin();
  }

  async #signOut() {
    const holder = api.token.get() !== null;
    api.token.forget();
    if (!holder) await api.signOut().catch(() => null);
    this.#onLeave();
    await this.beginAgain();
  }
}
