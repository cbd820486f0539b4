/**
 * Server-sent events out of a fetch body, as the standard reads them:
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 *
 * Unlike EventSource it can POST, send headers and be aborted, and it never reconnects by itself.
 */

/**
 * Yield every event of `body` as `{event, data, id}`; comments and empty events are dropped.
 * A body that ends inside an event loses that event, as the standard has it.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<{event: string, data: string, id: string}>}
 */
export async function* readEvents(body) {
  const reader = body.getReader();
  const letters = new TextDecoder(); // drops a BOM, joins characters split over packets
  const lines = new Lines();
  const decoder = new Decoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const line of lines.feed(letters.decode(value, { stream: true }))) {
        const event = decoder.feed(line);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // leaving early closes the connection; a broken one has nothing to close
  }
}

/** Text in, whole lines out; a line ends with CR, LF or both. */
class Lines {
  #rest = "";

  feed(text) {
    const all = this.#rest + text;
    // A CR at the very end may be half of a CRLF.
    const end = all.endsWith("\r") ? all.length - 1 : all.length;
    const lines = all.slice(0, end).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + all.slice(end);
    return lines;
  }
}

/** Lines in, events out. */
class Decoder {
  #data = [];
  #event = "";
  #id = "";

  feed(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    return null;
  }

  #dispatch() {
    const event = { event: this.#event || "message", data: this.#data.join("\n"), id: this.#id };
    const empty = this.#data.length === 0;
    this.#data = [];
    this.#event = "";
    return empty ? null : event;
  }
}
