/**
 * Answers that survive: start one, read it while it is written, lose the connection, reload the page, go on.
 *
 *     import { resumeStream, startStream } from "/static/stream.js";
 *
 *     const stream = startStream({ model, messages }, { onText: (text) => show(text) });
 *     const receipt = await stream.finished;
 *     // on loading the page: resumeStream({ onText }) is the stream that a reload interrupted, or null
 *
 * Nothing is needed but its parts beside it: stream-memory.js, stream-wire.js and sse.js. The page's cookie or a bearer
 * is the credential; docs/streams.md tells what goes over the wire. Every chunk is given once and in order, through any
 * number of lost connections.
 *
 * @typedef {object} Chunk  a `chat.completion.chunk`
 * @property {string} id
 * @property {Array<{index: number, delta: {content?: string}, finish_reason?: string | null}>} choices
 *
 * @typedef {object} Receipt  what a stream was
 * @property {string} id
 * @property {string} end_reason  `finish`, `cancelled`, `budget`, `filtered` …
 * @property {string} model
 * @property {number | null} ttft_ms  milliseconds until the first chunk
 * @property {number} duration_ms
 * @property {{prompt_tokens: number, completion_tokens: number, total_tokens: number, estimated: boolean}} usage
 *
 * @typedef {"connecting" | "streaming" | "reconnecting" | "done" | "failed" | "closed"} State
 *
 * @typedef {object} StreamOptions
 * @property {string} [base]  where the proxy is, "/" by default; "https://chat.example/" from another origin
 * @property {string | (() => string | null | Promise<string | null>)} [token]  a bearer; without one the page's cookie
 * @property {string | null} [storageKey]  where in sessionStorage the position is kept; null: a reload forgets it
 * @property {boolean} [replay]  resume with the first chunk instead of the one after the last that was seen
 * @property {(headers: Headers) => void} [onStart]  the server has begun; RateLimit fields are among the headers
 * @property {(text: string, added: string) => void} [onText]  all text so far, and what has just been added to it
 * @property {(chunk: Chunk) => void} [onChunk]
 * @property {(state: State, detail: {retryAt?: number, fault?: StreamError}) => void} [onState]
 *   while reconnecting: when it tries again (epoch milliseconds), and why
 * @property {(lost: {first: number, last: number}) => void} [onGap]
 *   chunks of these numbers were lost on the server: what follows does not join on to what is there
 * @property {(receipt: Receipt) => void} [onDone]
 * @property {(fault: StreamError) => void} [onFault]
 */

import { Memory } from "./stream-memory.js";
import { StreamError, Wire } from "./stream-wire.js";

export { StreamError };

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
// The server holds what has ended for streams.replay_seconds (300); an answer that did not begin is given up earlier.
const READ_PATIENCE_MS = 300_000;
const START_PATIENCE_MS = 30_000;

/**
 * Start an answer. Returns at once; a POST that has to be repeated never starts a second one.
 *
 * @param {{model: string, messages: object[], session_id?: string, on_disconnect?: "cancel" | "finish"}} request
 * @param {StreamOptions} [options]
 * @returns {ChatStream}
 */
export function startStream(request, options = {}) {
  const memory = new Memory(options.storageKey);
  memory.begin(request);
  return new ChatStream(memory, options);
}

/**
 * The stream that this tab was reading when it was reloaded, its text so far included; null when there was none.
 *
 * @param {StreamOptions} [options]
 * @returns {ChatStream | null}
 */
export function resumeStream(options = {}) {
  const memory = new Memory(options.storageKey);
  return memory.recall({ replay: options.replay }) ? new ChatStream(memory, options) : null;
}

/** One answer. Also an async iterable of its chunks, from the one that comes next; it throws when the answer fails. */
export class ChatStream {
  /** @type {State} */
  state = "connecting";
  /** The receipt, once the answer is over. @type {Promise<Receipt>} */
  finished;
  #memory;
  #options;
  #wire;
  #aborter = new AbortController();
  #begun;
  #settle;
  #cancelled = null;
  #listeners = new Set();
  #failures = 0;
  #hurry = () => {};
  #progress = performance.now();

  /** Use startStream or resumeStream. @param {Memory} memory @param {StreamOptions} options */
  constructor(memory, options) {
    this.#memory = memory;
    this.#options = options;
    this.#wire = new Wire(options);
    this.finished = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.finished.catch(() => {}); // who does not ask is not told by an unhandled rejection
    this.#begun = memory.id ? Promise.resolve() : this.#begin();
    this.#begun.then(() => this.#read()).then((receipt) => this.#end(receipt), (fault) => this.#fail(fault));
  }

  /** The stream's id; empty until the server has told it. @returns {string} */
  get id() {
    return this.#memory.id;
  }

  /** All text of the answer so far. @returns {string} */
  get text() {
    return this.#memory.text;
  }

  /** The id of the newest event, `<stream id>.<n>`; empty before the first. @returns {string} */
  get position() {
    return this.#memory.position;
  }

  /** Whether nothing more will come. @returns {boolean} */
  get over() {
    return ["done", "failed", "closed"].includes(this.state);
  }

  /** End the answer, for good and for everybody who reads it; what was said stays. @returns {Promise<Receipt>} */
  cancel() {
    if (!this.#cancelled) {
      this.#cancelled = this.#begun.then(() =>
        this.#persist(() => this.#wire.cancel(this.id), { patience: START_PATIENCE_MS, quiet: true }),
      );
      this.#cancelled.catch(() => (this.#cancelled = null)); // it may be told again
    }
    return this.#cancelled;
  }

  /** Try again now, while it waits for its next try. */
  retry() {
    this.#hurry();
  }

  /** Read no more, and leave the answer to go on: a component is unmounted. resumeStream takes it up again. */
  close() {
    if (this.over) return;
    this.#memory.close();
    this.#aborter.abort();
    this.#fail(new DOMException("The stream was closed.", "AbortError"), "closed");
  }

  async *[Symbol.asyncIterator]() {
    /** @type {Chunk[]} */
    const chunks = [];
    /** @type {(value?: unknown) => void} */
    let wake = () => {};
    const listener = (chunk) => {
      if (chunk !== null) chunks.push(chunk);
      wake();
    };
    this.#listeners.add(listener);
    try {
      while (chunks.length > 0 || !this.over) {
        if (chunks.length > 0) yield chunks.shift();
        else await new Promise((resolve) => (wake = resolve));
      }
      if (this.state !== "closed") await this.finished;
    } finally {
      this.#listeners.delete(listener);
    }
  }

  async #begin() {
    const { request, key } = this.#memory;
    const start = () => this.#wire.start(request, key, this.#aborter.signal);
    const stream = await this.#persist(start, { patience: START_PATIENCE_MS, mayPass: (fault) => fault.unexplained });
    this.#memory.began(stream);
    this.#call(this.#options.onStart, stream.headers);
  }

  /** Read until the answer is over, however often the connection is lost. */
  async #read() {
    let receipt = null;
    await this.#persist(
      async () => {
        const { id, eventsUrl, position } = this.#memory;
        const { signal } = this.#aborter;
        signal.throwIfAborted();
        for await (const event of this.#wire.events({ id, eventsUrl, position }, signal)) {
          signal.throwIfAborted();
          this.#failures = 0;
          this.#progress = performance.now();
          if (event.event === "done") receipt = JSON.parse(event.data);
          if (event.event === "failed") throw new StreamError({ ...JSON.parse(event.data).error, final: true });
          if (event.event === "gap") this.#call(this.#options.onGap, JSON.parse(event.data));
          if (receipt) return;
          if (this.#memory.isNew(event.id)) this.#take(event);
        }
        throw new StreamError({ code: "cut" });
      },
      { patience: READ_PATIENCE_MS },
    );
    return receipt;
  }

  /** @param {{data: string, id: string}} event */
  #take({ data, id }) {
    const chunk = JSON.parse(data);
    const added = chunk.choices?.find(({ index }) => index === 0)?.delta?.content ?? "";
    this.#memory.add(id, added);
    this.#change("streaming");
    this.#call(this.#options.onChunk, chunk);
    for (const listener of this.#listeners) listener(chunk);
    if (added) this.#call(this.#options.onText, this.text, added);
  }

  /** Try again, after longer and longer pauses, what a fault of the way there has stopped. */
  async #persist(attempt, { patience, mayPass = (fault) => fault.passing, quiet = false }) {
    this.#progress = performance.now();
    for (let failures = 0; ; failures += 1) {
      try {
        return await attempt();
      } catch (fault) {
        const late = performance.now() - this.#progress > patience;
        if (this.#aborter.signal.aborted || !(fault instanceof StreamError) || !mayPass(fault) || late) throw fault;
        const pause = pauseAfter(fault, quiet ? failures : this.#failures++);
        if (!quiet) this.#change("reconnecting", { retryAt: Date.now() + pause, fault });
        await this.#rest(pause);
      }
    }
  }

  /** Wait, but no longer than until the browser is online again, somebody hurries or nobody wants to read any more. */
  #rest(pause) {
    return new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
      const over = () => {
        clearTimeout(timer);
        globalThis.removeEventListener?.("online", over);
        resolve();
      };
      const timer = setTimeout(over, pause);
      this.#hurry = over;
      globalThis.addEventListener?.("online", over);
      this.#aborter.signal.addEventListener("abort", over, { once: true });
    });
  }

  #end(receipt) {
    if (this.over) return;
    this.#memory.forget();
    this.#change("done");
    this.#settle.resolve(receipt);
    this.#wake();
    this.#call(this.#options.onDone, receipt);
  }

  #fail(fault, state = "failed") {
    if (this.over) return;
    if (state === "failed") this.#memory.forget();
    this.#change(state, { fault });
    this.#settle.reject(fault);
    this.#wake();
    if (state === "failed") this.#call(this.#options.onFault, fault);
  }

  #wake() {
    for (const listener of this.#listeners) listener(null);
  }

  #change(state, detail = {}) {
    if (state === this.state && state !== "reconnecting") return;
    this.state = state;
    this.#call(this.#options.onState, state, detail);
  }

  /** A defect in a callback is its page's own, and must not cost the answer. */
  #call(callback, ...values) {
    try {
      callback?.(...values);
    } catch (fault) {
      queueMicrotask(() => {
        throw fault;
      });
    }
  }
}

/** Milliseconds: twice as long each time, some of it by chance, so that a thousand readers do not return at once. */
function pauseAfter(fault, failures) {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures);
  return Math.max((fault.retryAfter ?? 0) * 1000, longest * (0.5 + Math.random() / 2));
}
