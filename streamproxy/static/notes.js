/** What stands below an answer, and messages of the history as the page shows them. */

import { count, texts } from "./texts.js";
import { make } from "./view.js";

/** Lines about an answer: how it ended, model, tokens, cost, times. `facts` is a receipt, or the history's `answer`. */
export function notesOf(facts, ending) {
  const notes = [];
  if (ending === "length" || facts.end_reason === "budget") notes.push(texts.length);
  if (ending === "content_filter" || facts.end_reason === "filtered") notes.push(texts.filtered);
  if (facts.end_reason === "cancelled") notes.push(texts.stopped);
  if (["upstream_error", "worker_lost", "client_gone"].includes(facts.end_reason)) notes.push(texts.cutShort);
  return [...notes, summary(facts)];
}

function summary(facts) {
  const { completion_tokens: tokens, estimated } = facts.usage ?? facts;
  const seconds = (milliseconds) => (milliseconds / 1000).toFixed(1);
  const timing = facts.ttft_ms === null ? null : texts.timing(seconds(facts.ttft_ms), seconds(facts.duration_ms));
  const cost = Number(facts.cost_usd) > 0 ? `$${Number(facts.cost_usd).toPrecision(2)}` : null;
  return [facts.model, texts.tokens(count(tokens), estimated), cost, timing].filter(Boolean).join(" · ");
}

/** The text of a chat message, whose content may be a list of parts. */
export function textOf({ content, refusal }) {
  if (typeof content === "string") return content;
  if (Array.isArray(content)) return content.map((part) => part.text ?? "").join("\n");
  return refusal ?? "";
}

/** A picture that came as data is shown; one that lies elsewhere is a link, because loading it would tell who looks. */
export function pictureOf({ data, address }, prompt) {
  if (data) return make("img", [], { src: data, alt: texts.picture(prompt), class: "picture" });
  return make("a", [texts.picture(prompt)], { href: address, target: "_blank", rel: "noopener noreferrer nofollow" });
}
