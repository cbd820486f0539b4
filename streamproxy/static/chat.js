/**
 * The chat page: one conversation.
 *
 * Its context lives on the server under a session id (X-Session-Id), so each turn sends its own message only. An
 * answer that was stopped or broke off is kept there as far as it was said.
 */

import { Account, chosenModel } from "./account.js";
import { AnswerView } from "./answer.js";
import * as api from "./api.js";
import { Composer } from "./composer.js";
import { Follower } from "./scrolling.js";
import { plainly, texts, translate } from "./texts.js";
import { make } from "./view.js";

const $ = (id) => document.getElementById(id);
const [talk, welcome] = [$("talk"), $("welcome")];

const follower = new Follower($("scroller"), $("down"));
const composer = new Composer({ onSend: ask, onStop: stop });
const account = new Account({ onReady: () => composer.focus(), onFault: startBadly, onLeave: startAnew });

let session = newSession();
let running = null;
let newest = null;

/** randomUUID exists in secure contexts only; plain HTTP in an office network is none. */
function newSession() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function ask(text) {
  talk.append(make("li", [make("h2", [texts.you], { class: "unseen" }), make("p", [text])], { class: "said" }));
  answer(text);
  follower.toEnd();
}

async function answer(text) {
  const view = addAnswer();
  const aborter = new AbortController();
  running?.abort();
  showRunning(aborter);
  try {
    const notes = await receive(view, text, aborter.signal);
    await view.end(notes);
    announce(texts.complete);
  } catch (fault) {
    await conclude(view, text, fault);
  } finally {
    if (running === aborter) showRunning(null);
    follower.follow();
  }
}

/** Show the chunks of one answer as they come; return what is to be noted below it. */
async function receive(view, text, signal) {
  const [asked, model, notes] = [performance.now(), chosenModel(), []];
  const onOpen = (headers) => headers.has("X-Context-Truncated") && notes.push(texts.leftOut);
  let first = null;
  for await (const chunk of api.chat({ model, text, sessionId: session, signal, onOpen })) {
    const { delta = {}, finish_reason: ending } = chunk.choices?.[0] ?? {};
    const words = delta.content || delta.refusal;
    if (words) {
      first ??= performance.now();
      view.say(words);
    } else if (delta.reasoning_content || delta.reasoning) view.think();
    if (ending === "length") notes.push(texts.length);
    if (ending === "content_filter") notes.push(texts.filtered);
  }
  const seconds = (until) => ((until - asked) / 1000).toFixed(1);
  return [...notes, `${model} · ${texts.timing(seconds(first ?? performance.now()), seconds(performance.now()))}`];
}

async function conclude(view, text, fault) {
  if (fault.name === "AbortError") {
    await view.end([texts.stopped], { atOnce: true });
    announce(texts.stopped);
    return;
  }
  const known = fault instanceof api.ApiError ? fault : new api.ApiError({ message: String(fault) });
  await view.fail(known, () => {
    view.element.remove();
    answer(text);
  });
  announce(plainly(known));
  if (known.status === 401) await account.beginAgain();
}

function addAnswer() {
  newest?.abandon();
  newest = new AnswerView({ onGrow: () => follower.follow() });
  talk.append(newest.element);
  welcome.hidden = true;
  return newest;
}

function stop() {
  running?.abort();
}

function startAnew() {
  stop();
  session = newSession();
  newest?.abandon();
  newest = null;
  talk.replaceChildren();
  welcome.hidden = false;
  composer.focus();
}

function showRunning(aborter) {
  running = aborter;
  composer.busy = aborter !== null;
  talk.ariaBusy = String(aborter !== null);
  if (aborter !== null) announce("");
}

/** Said once, when there is something to say: a screen reader is not made to read along. */
function announce(text) {
  $("announcer").textContent = text;
}

/** The server could not even say which models there are. */
function startBadly(fault) {
  const view = addAnswer();
  view.fail(fault, () => {
    view.element.remove();
    account.begin();
  });
}

translate(document);
for (const text of texts.openers) {
  const opener = make("button", [text], { type: "button" });
  opener.addEventListener("click", () => ask(text));
  $("openers").append(make("li", [opener]));
}
$("fresh").addEventListener("click", startAnew);
account.begin();
