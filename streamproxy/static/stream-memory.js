/** What a tab remembers of the stream it reads, in sessionStorage: enough to go on after a reload. */

// Writing on every chunk would cost more than reading it; a position that is a moment old only means a longer replay.
const SAVE_MS = 250;

export class Memory {
  request = null;
  key = "";
  id = "";
  eventsUrl = "";
  position = "";
  text = "";
  #storageKey;
  #timer = null;
  #leave = () => this.save();

  /** @param {string | null} [storageKey] */
  constructor(storageKey = "streamproxy.stream") {
    this.#storageKey = globalThis.sessionStorage ? storageKey : null;
  }

  /** The request and its Idempotency-Key are kept before it leaves: who reloads now asks again for the same answer. */
  begin(request) {
    this.request = request;
    this.key = newKey();
    this.#keep();
    this.save();
  }

  /** @param {{id: string, events_url: string}} stream */
  began({ id, events_url: eventsUrl }) {
    this.request = null;
    this.id = id;
    this.eventsUrl = eventsUrl;
    this.save();
  }

  /** Whether an event has not been seen yet. @param {string} position */
  isNew(position) {
    return numberOf(position) > numberOf(this.position);
  }

  add(position, text) {
    this.position = position;
    this.text += text;
    this.#timer ??= setTimeout(() => this.save(), SAVE_MS);
  }

  save() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (!this.#storageKey) return;
    const { request, key, id, eventsUrl, position, text } = this;
    const write = (kept) => sessionStorage.setItem(this.#storageKey, JSON.stringify({ request, key, id, eventsUrl, ...kept }));
    try {
      write({ position, text });
    } catch {
      sessionStorage.removeItem(this.#storageKey);
      // A text that is too long to keep is read again from its beginning.
      if (id) write({ position: "", text: "" });
    }
  }

  /** Whether there was something to remember. `replay`: but forget what was seen of it. */
  recall({ replay = false } = {}) {
    const kept = this.#storageKey && sessionStorage.getItem(this.#storageKey);
    if (!kept) return false;
    Object.assign(this, JSON.parse(kept), replay ? { position: "", text: "" } : {});
    this.#keep();
    return true;
  }

  /** What has been kept stays; nothing more is written, for another may be kept in its place. */
  close() {
    this.save();
    globalThis.removeEventListener?.("pagehide", this.#leave);
  }

  forget() {
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("pagehide", this.#leave);
    if (this.#storageKey) sessionStorage.removeItem(this.#storageKey);
  }

  /** From now on there is something to remember. */
  #keep() {
    globalThis.addEventListener?.("pagehide", this.#leave);
  }
}

/** The number in `<stream id>.<number>`, 0 for none. */
function numberOf(position) {
  return Number(position.slice(position.lastIndexOf(".") + 1));
}

/** randomUUID exists in secure contexts only; plain HTTP in an office network is none. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
