/** The chat page: puts its parts together. The conversation on the page is named by the address's fragment. */

import { Account } from "./account.js";
import * as api from "./api.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Conversations } from "./conversations.js";
import { Limits } from "./limits.js";
import { Models } from "./models.js";
import { Follower } from "./scrolling.js";
import { Sidebar } from "./sidebar.js";
import { Talk } from "./talk.js";
import { plainly, switchLanguage, texts, translate } from "./texts.js";
import { switchTheme } from "./themes.js";
import { make } from "./view.js";

const $ = (id) => document.getElementById(id);

translate(document);
const sidebar = new Sidebar();
const models = new Models();
const follower = new Follower($("scroller"), $("down"));
const composer = new Composer({ onSend: send, onStop: () => talk.stop() });
const connection = new Connection({ onRetry: () => talk.hurry() });
const limits = new Limits($("limits"), { onBlocked: (blocked) => (composer.blocked = blocked) });
const conversations = new Conversations($("past"), { onOpen: open, onForget: (id) => id === talk.id && startAnew() });
const account = new Account({ onReady: begin, onFault: startBadly, onLeave: leave });

const page = {
  limits,
  memorySeconds: 1800,
  model: () => models.chosen,
  changed: (changed) => changed === talk && showTalk(),
  grown: (grown) => grown === talk && follower.follow(),
  spoken: (spoken, text) => {
    history.replaceState(null, "", `#${spoken.id}`);
    conversations.touch(spoken.id, text);
    conversations.select(spoken.id);
  },
  lost: (lost, state, detail) => {
    if (lost !== talk) return;
    connection.show(state, detail);
    if (state === "reconnecting") announce(texts.connecting);
  },
  announce,
  unknown: () => account.beginAgain(),
};
const talks = new Map();
let ready = Promise.withResolvers();
let talk = talkOf(newId());

/** The conversation that is on the page or was: its answer may still be written while another one is looked at. */
function talkOf(id) {
  if (!talks.has(id)) talks.set(id, new Talk(id, page));
  return talks.get(id);
}

/** Who is quicker than the server's first answers waits for them: before, no model is chosen. */
async function send(text, { draw }) {
  await ready.promise;
  if (draw) talk.draw(text);
  else talk.ask(text);
  announce("");
  follower.toEnd();
}

async function open(id) {
  sidebar.close();
  const known = talks.has(id);
  show(talkOf(id));
  if (known) return;
  try {
    const opening = talk.open();
    await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, 300))]);
    follower.toEnd();
    await opening;
  } catch (fault) {
    talks.delete(id);
    startBadly(fault);
  }
}

function show(next) {
  talk = next;
  connection.hide();
  $("talks").replaceChildren(talk.element);
  conversations.select(talk.id);
  history.replaceState(null, "", talk.empty && !location.hash.includes(talk.id) ? location.pathname : `#${talk.id}`);
  showTalk();
  follower.toEnd();
  composer.focus();
}

function showTalk() {
  composer.busy = talk.busy;
  $("welcome").hidden = !talk.empty;
  follower.follow();
}

function startAnew() {
  sidebar.close();
  history.replaceState(null, "", location.pathname);
  show(talkOf(newId()));
}

/** Who is here is known: what may they ask, and what did they? */
async function begin(me) {
  page.memorySeconds = me.session_seconds;
  const [names] = await Promise.all([api.models(), conversations.load()]);
  models.show(names);
  ready.resolve();
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (wanted && wanted !== talk.id && /^[\w.:-]{1,64}$/.test(wanted)) await open(wanted);
  else show(talk);
}

/** Somebody else is here, to whom nothing on the page belongs. */
function leave() {
  for (const one of talks.values()) one.close();
  talks.clear();
  ready = Promise.withResolvers();
  conversations.clear();
  limits.forget();
  startAnew();
}

/** The server could not say what it was asked when the page began. */
function startBadly(fault) {
  const again = make("button", [texts.tryAgain], { type: "button", class: "quiet outlined" });
  const trouble = make("div", [make("p", [plainly(fault)]), again], { class: "trouble" });
  again.addEventListener("click", () => {
    trouble.remove();
    account.begin();
  });
  $("talks").replaceChildren(trouble);
  announce(plainly(fault));
}

/** Said once, when there is something to say: a screen reader is not made to read along. */
function announce(text) {
  $("announcer").textContent = text;
}

/** randomUUID exists in secure contexts only; plain HTTP in an office network is none. */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

for (const text of texts.openers) {
  const opener = make("button", [text], { type: "button" });
  opener.addEventListener("click", () => send(text, { draw: false }));
  $("openers").append(make("li", [opener]));
}
for (const id of ["fresh", "fresh-narrow"]) $(id).addEventListener("click", startAnew);
$("language").addEventListener("click", switchLanguage);
$("theme").addEventListener("click", switchTheme);
addEventListener("hashchange", () => {
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (wanted && wanted !== talk.id) open(wanted);
});
account.begin();
