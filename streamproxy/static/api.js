/** The server's API as the page uses it, apart from streams. */

import { call } from "./stream-wire.js";

const TOKEN = "streamproxy.token";

/** Where the server is: the page may live under a prefix. */
export const base = new URL("..", import.meta.url).href;

/** The token that was pasted, for this tab only. Who signed in otherwise has a cookie that is not for scripts to see. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** Ids of all models. */
export async function models() {
  return (await get("v1/models")).data.map((model) => model.id);
}

/** `{id, name, role, session_seconds}`. */
export function me() {
  return get("v1/me");
}

/** Have the server give this browser a new guest cookie, if it welcomes guests. */
export async function welcome() {
  await ask("GET", "");
}

export function signIn(name, password) {
  return ask("POST", "signin", { name, password });
}

export function signOut() {
  return ask("POST", "signout", {});
}

/** A page of conversations: `{data: [{id, title, updated}], has_more, last_id}`. */
export function conversations({ after = "" } = {}) {
  return get(`v1/sessions?limit=50${after && `&after=${after}`}`);
}

/** A page of what was said, newest first: `{data: [{stream_id, message, answer, complete}], has_more, last_id}`. */
export function messages(id, { after = "" } = {}) {
  return get(`v1/sessions/${id}/messages?limit=100${after && `&after=${after}`}`);
}

export function forget(id) {
  return ask("DELETE", `v1/sessions/${id}`);
}

/** Take back the turn of a stream and all after it; one that nobody knows is taken back already. */
export async function rewind(id, streamId) {
  await ask("DELETE", `v1/sessions/${id}/turns/${streamId}`).catch((fault) => {
    if (fault.status !== 404) throw fault;
  });
}

/** A picture of what `prompt` describes: an address of the page's own kind, or one elsewhere. */
export async function draw(prompt, signal) {
  const [picture] = (await ask("POST", "v1/images/generations", { prompt, n: 1, response_format: "b64_json" }, signal)).data;
  return picture.b64_json ? { data: `data:image/png;base64,${picture.b64_json}` } : { address: picture.url };
}

function get(path) {
  return ask("GET", path);
}

/** Any other call; the JSON of its answer, null where it has none. */
export async function ask(method, path, body, signal) {
  const content = body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await call(new URL(path, base), { method, signal, ...content }, token.get());
  return response.headers.get("Content-Type")?.startsWith("application/json") ? response.json() : null;
}
