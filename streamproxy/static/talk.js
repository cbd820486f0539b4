/**
 * One conversation on the page: what was said, and the answer that is being written.
 *
 * Its context lives on the server under a session id, so each turn sends its own message only. An answer that was
 * stopped or broke off is kept there as far as it was said. Where the page is left, the answer goes on without it.
 */

import * as api from "./api.js";
import { notesOf, pictureOf, textOf } from "./notes.js";
import { resumeStream, startStream, StreamError } from "./stream.js";
import { plainly, texts } from "./texts.js";
import { Turn } from "./turn.js";
import { make } from "./view.js";

export class Talk {
  element = make("ol", [], { class: "talk", "aria-label": texts.conversation });
  #page;
  #turns = [];
  #stream = null;
  #drawing = null;
  #spoken = Date.now();

  /**
   * `page` is told what happens: `changed(talk)`, `grown(talk)`, `spoken(talk, text)`, `announce(text)`, `limits`,
   * `lost(talk, state, detail)`, `unknown()` when the server does not know the reader any more; and asked for
   * `model()` and `memorySeconds`.
   */
  constructor(id, page) {
    this.id = id;
    this.#page = page;
  }

  get busy() {
    return this.#stream !== null || this.#drawing !== null;
  }

  get empty() {
    return this.element.childElementCount === 0;
  }

  /** Show what was said before, and go on with the answer that a reload interrupted. */
  async open() {
    const asked = sessionStorage.getItem(this.#askedKey);
    const page = await api.messages(this.id);
    this.#showPast(page.data.toReversed());
    if (page.has_more) this.#offerEarlier(page.last_id);
    let turn = null;
    const stream = asked === null ? null : resumeStream(this.#options(() => turn));
    if (stream && !page.data.some((said) => said.stream_id === stream.id)) {
      turn = this.#addTurn(asked);
      turn.answer.put(stream.text);
      await this.#follow(turn, stream);
    } else {
      stream?.close();
      this.#forgetStream();
    }
  }

  ask(text) {
    if (this.#turns.length > 0 && Date.now() - this.#spoken > this.#page.memorySeconds * 1000) {
      this.element.append(make("li", [texts.afresh], { class: "afresh" }));
    }
    const turn = this.#addTurn(text);
    sessionStorage.setItem(this.#askedKey, text);
    const request = { model: this.#page.model(), session_id: this.id, messages: [{ role: "user", content: text }] };
    this.#page.spoken(this, text);
    this.#follow(turn, startStream(request, this.#options(() => turn)));
  }

  /** A picture instead of words. It is no part of what the model remembers. */
  async draw(prompt) {
    const turn = this.#addTurn(prompt, { editable: false });
    const drawing = new AbortController();
    turn.answer.note(texts.drawing);
    this.#drawing = drawing;
    this.#changed();
    try {
      turn.answer.show(pictureOf(await api.draw(prompt, drawing.signal), prompt));
      await turn.answer.end([]);
    } catch (fault) {
      await this.#conclude(turn, fault, () => {
        this.#takeBack(turn);
        this.draw(prompt);
      });
    }
    this.#drawing = null;
    this.#changed();
  }

  /** End the answer; resolves when it has ended. */
  async stop() {
    this.#drawing?.abort();
    const stream = this.#stream;
    if (!stream) return;
    this.#turns.at(-1).answer.note(texts.stopping);
    await stream.cancel().catch(() => stream.close());
    await stream.finished.catch(() => null);
  }

  /** Try now what waits for its next try. */
  hurry() {
    this.#stream?.retry();
  }

  /** It is not on this page any more; its answer goes on without a reader. */
  close() {
    this.#stream?.close();
    this.#drawing?.abort();
  }

  get #streamKey() {
    return `streamproxy.stream.${this.id}`;
  }

  get #askedKey() {
    return `streamproxy.asked.${this.id}`;
  }

  /** `turnOf` gives the turn, which may be made after its stream. */
  #options(turnOf) {
    return {
      base: api.base,
      token: api.token.get,
      storageKey: this.#streamKey,
      onStart: (headers) => this.#page.limits.read(headers),
      onChunk: (chunk) => turnOf()?.take(chunk),
      onGap: () => turnOf()?.lose(),
      onState: (state, detail) => this.#page.lost(this, state, detail),
    };
  }

  /** A turn at the end, or before an element: one of the past that was not shown yet. */
  #addTurn(text, { editable = true, streamId = "", before = null } = {}) {
    const turn = new Turn(text, {
      streamId,
      onEdit: editable ? (edited, better) => this.#again(edited, better) : null,
      hasLater: (asked) => this.#turns.at(-1) !== asked,
      onGrow: () => this.#page.grown(this),
    });
    if (before) {
      before.before(...turn.elements);
      return turn;
    }
    this.#turns.at(-1)?.answer.abandon();
    this.element.append(...turn.elements);
    this.#turns.push(turn);
    return turn;
  }

  async #follow(turn, stream) {
    this.#stream = stream;
    this.#changed();
    try {
      const receipt = await stream.finished;
      turn.streamId = stream.id;
      const stopped = receipt.end_reason === "cancelled";
      await turn.answer.end([turn.gaps && texts.gaps, ...notesOf(receipt, turn.ending)], { atOnce: stopped });
      turn.answer.offer(() => this.#again(turn));
      this.#page.announce(stopped ? texts.stopped : texts.complete);
    } catch (fault) {
      turn.streamId = stream.id;
      await this.#conclude(turn, fault, () => this.#again(turn));
    }
    if (this.#stream === stream) this.#stream = null;
    if (stream.state !== "closed") this.#forgetStream();
    this.#spoken = Date.now();
    this.#changed();
  }

  async #conclude(turn, fault, again) {
    if (fault.name === "AbortError") {
      await turn.answer.end([texts.stopped], { atOnce: true });
      return;
    }
    const known = fault instanceof StreamError ? fault : new StreamError({ message: String(fault) });
    await turn.answer.fail(known, again);
    this.#page.announce(plainly(known));
    if (known.status === 429) this.#page.limits.refuse(known.retryAfter);
    if (known.status === 401) this.#page.unknown();
  }

  /** Ask once more, or better: the turn and all after it are taken back first. */
  async #again(turn, text = turn.text) {
    await this.stop();
    const taken = this.#turns.slice(this.#turns.indexOf(turn));
    const known = taken.find(({ streamId }) => streamId !== "");
    try {
      if (known) await api.rewind(this.id, known.streamId);
    } catch (fault) {
      await this.#conclude(taken.at(-1), fault, () => this.#again(turn, text));
      return;
    }
    for (const one of taken) this.#takeBack(one);
    this.ask(text);
  }

  #takeBack(turn) {
    turn.remove();
    this.#turns = this.#turns.filter((one) => one !== turn);
  }

  /** Messages of the history, oldest first; those of one stream are a turn. */
  #showPast(messages, before = null) {
    const turns = [];
    for (const { stream_id: streamId, message, answer, created, complete } of messages) {
      if (message.role === "user") {
        turns.push(this.#addTurn(textOf(message), { streamId, before }));
      } else if (message.role === "assistant" && turns.at(-1)?.streamId === streamId) {
        turns.at(-1).answer.put(textOf(message));
        turns.at(-1).answer.end(answer ? notesOf(answer, complete ? "stop" : null) : [], { atOnce: true });
      }
      if (!before) this.#spoken = created * 1000 + (answer?.duration_ms ?? 0);
    }
    if (before) this.#turns.unshift(...turns);
    const newest = turns.at(-1);
    if (newest && !before) newest.answer.offer(() => this.#again(newest));
  }

  #offerEarlier(after) {
    const more = make("button", [texts.more], { type: "button", class: "quiet outlined" });
    const item = make("li", [more], { class: "earlier" });
    this.element.prepend(item);
    more.addEventListener("click", async () => {
      more.disabled = true;
      const page = await api.messages(this.id, { after });
      this.#showPast(page.data.toReversed(), item.nextElementSibling);
      item.remove();
      if (page.has_more) this.#offerEarlier(page.last_id);
    });
  }

  #forgetStream() {
    sessionStorage.removeItem(this.#askedKey);
    sessionStorage.removeItem(this.#streamKey);
  }

  #changed() {
    this.element.ariaBusy = String(this.busy);
    this.#page.changed(this);
  }
}
