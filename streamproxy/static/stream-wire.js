/** Calls of the stream endpoints: one POST to start, one connection to read, one POST to cancel. */

import { readEvents } from "./sse.js";

// The server sends a comment after streams.heartbeat_seconds (10) of silence. EventSource does not show comments, so
// a silent model looks like a dead connection there: reconnecting to it costs one request and no text. A call that is
// answered at once looks dead after the same time.
const SILENCE_MS = 45_000;
const PASSING = new Set([0, 408, 425, 429, 500, 502, 503, 504]);
// The server says why it cannot, and that it soon can again.
const SOON = new Set(["server_shutdown", "store_unavailable"]);

/**
 * A call or an answer that failed. `status` 0: no answer at all (`unreachable`), or one without an end (`cut`).
 * `code` is the server's; it is empty where something in front of the server answered. `retryAfter` is in seconds.
 */
export class StreamError extends Error {
  status = 0;
  code = "";
  /** @type {number | null} */
  retryAfter = null;
  requestId = "";
  final = false;

  /** @param {{message?: string, status?: number, code?: string, retryAfter?: number | null, requestId?: string, final?: boolean}} fields */
  constructor({ message, status = 0, code = "", retryAfter = null, requestId = "", final = false }) {
    super(message || code || `status ${status}`);
    this.name = "StreamError";
    Object.assign(this, { status, code, retryAfter, requestId, final });
  }

  /** Whether reading may go on later: the stream is still there. */
  get passing() {
    return !this.final && (PASSING.has(this.status) || this.code === "stream_ending");
  }

  /** Whether the server itself has not refused: it was not reached, is not ready, or is still beginning. */
  get unexplained() {
    const silent = this.passing && this.status !== 429 && ["", "unreachable"].includes(this.code);
    return silent || SOON.has(this.code) || (this.status === 409 && this.retryAfter !== null);
  }
}

export class Wire {
  #base;
  #token;
  #explain = false;

  /** @param {{base?: string, token?: string | (() => string | null | Promise<string | null>)}} options */
  constructor({ base = "/", token }) {
    this.#base = new URL(base, globalThis.document?.baseURI);
    this.#token = token;
  }

  /** POST a request. @returns {Promise<{id: string, events_url: string, headers: Headers}>} */
  async start(request, key, signal) {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    const post = { method: "POST", headers, body: JSON.stringify(request) };
    return this.#answered("v1/streams", post, signal, async (response) => ({
      ...(await response.json()),
      headers: response.headers,
    }));
  }

  /** The receipt of a stream that was told to end. */
  async cancel(id) {
    return this.#answered(`v1/streams/${id}/cancel`, { method: "POST" });
  }

  /**
   * The events behind `position`, until the connection ends. EventSource where it can be had, for a ticket says who
   * reads; fetch where a bearer does, and for once after an answer that EventSource gave up on without saying why.
   */
  async *events({ id, eventsUrl, position }, signal) {
    const bearer = await this.#bearer();
    const url = this.#url(bearer ? `v1/streams/${id}/events` : eventsUrl);
    if (position) url.searchParams.set("last_event_id", position);
    const fetched = bearer || this.#explain || !globalThis.EventSource;
    this.#explain = false;
    yield* fetched ? this.#fetched(id, url, signal) : this.#listened(url, signal);
  }

  async *#fetched(id, url, signal) {
    const watch = new Watch(signal);
    try {
      const response = await this.#call(url, { signal: watch.signal });
      if (response.status === 204) yield await this.#ending(id, signal);
      else for await (const event of readEvents(response.body.pipeThrough(watch.tap()))) yield event;
    } catch (fault) {
      throw fault instanceof StreamError || signal.aborted ? fault : new StreamError({ code: "cut" });
    } finally {
      watch.stop();
    }
  }

  /** The end was seen by a page that forgot it: the receipt tells how it was. */
  async #ending(id, signal) {
    const receipt = await this.#answered(`v1/streams/${id}`, {}, signal);
    const error = receipt.error_code && { code: receipt.error_code, message: receipt.error_code };
    return { event: error ? "failed" : "done", data: JSON.stringify(error ? { error } : receipt), id: "" };
  }

  async *#listened(url, signal) {
    const source = new EventSource(url);
    const watch = new Watch(signal);
    const events = [];
    /** @type {(value?: unknown) => void} */
    let wake = () => {};
    for (const name of ["message", "gap", "done", "failed"]) {
      source.addEventListener(name, ({ data, lastEventId }) => {
        events.push({ event: name, data, id: lastEventId });
        watch.alive();
        wake();
      });
    }
    source.addEventListener("error", () => {
      this.#explain = source.readyState === EventSource.CLOSED;
      source.close(); // it would come back by itself, without a growing pause and never after a 502
      watch.stop();
      wake();
    });
    watch.signal.addEventListener("abort", () => wake());
    try {
      while (events.length > 0 || (source.readyState !== EventSource.CLOSED && !watch.signal.aborted)) {
        if (events.length > 0) yield events.shift();
        else await new Promise((resolve) => (wake = resolve));
      }
    } finally {
      source.close();
      watch.stop();
    }
  }

  /** What `read` makes of an answer that comes at once. A network that has died without a word is `unreachable`. */
  async #answered(path, options, signal = new AbortController().signal, read = (response) => response.json()) {
    const watch = new Watch(signal);
    try {
      return await read(await this.#call(path, { ...options, signal: watch.signal }));
    } catch (fault) {
      throw fault instanceof StreamError || signal.aborted ? fault : new StreamError({ code: "unreachable" });
    } finally {
      watch.stop();
    }
  }

  async #call(path, options) {
    return call(this.#url(path), options, await this.#bearer());
  }

  #url(path) {
    return path instanceof URL ? path : new URL(path.replace(/^\//, ""), this.#base);
  }

  async #bearer() {
    return typeof this.#token === "function" ? this.#token() : this.#token;
  }
}

/** Aborts what has been silent for too long, or what its reader does not want any more. */
class Watch {
  #aborter = new AbortController();
  #timer;

  constructor(signal) {
    if (signal.aborted) this.#aborter.abort();
    signal.addEventListener("abort", () => this.#aborter.abort(), { once: true });
    this.alive();
  }

  get signal() {
    return this.#aborter.signal;
  }

  alive() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#aborter.abort(), SILENCE_MS);
  }

  stop() {
    clearTimeout(this.#timer);
  }

  /** Bytes through, each of them a sign of life. */
  tap() {
    return new TransformStream({
      transform: (bytes, controller) => {
        this.alive();
        controller.enqueue(bytes);
      },
    });
  }
}

/**
 * fetch with a bearer, if any, that throws a StreamError for every answer that is no good one.
 *
 * @param {string | URL} url
 * @param {RequestInit} [options]
 * @param {string | null} [bearer]
 */
export async function call(url, { headers, ...options } = {}, bearer = null) {
  const credential = bearer ? { Authorization: `Bearer ${bearer}` } : {};
  let response;
  try {
    response = await fetch(url, { ...options, headers: { ...headers, ...credential } });
  } catch (fault) {
    throw fault.name === "AbortError" ? fault : new StreamError({ code: "unreachable" });
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** What a status says; a proxy in front may answer in HTML. */
async function refusal(response) {
  const error = await response.json().then((body) => body.error, () => null);
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new StreamError({
    message: error?.message,
    code: error?.code ?? "",
    status: response.status,
    retryAfter: Number.isNaN(wait) ? null : wait,
    requestId: response.headers.get("X-Request-Id") ?? "",
  });
}
