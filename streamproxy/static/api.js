/** The server's API as the page uses it. Paths are relative, so that the page may live under a prefix. */

import { readEvents } from "./sse.js";

const TOKEN = "streamproxy.token";

/**
 * A call that failed. `code` is the server's, or `unreachable` (no answer at all) or `cut` (an answer without end);
 * `retryAfter` is in seconds.
 */
export class ApiError extends Error {
  constructor({ message = "", status = 0, code = "", retryAfter = null, requestId = "" }) {
    super(message);
    Object.assign(this, { status, code, retryAfter, requestId });
  }
}

/** The token that was pasted, for this tab only. Guests have none: their cookie is not for scripts to see. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** Ids of all models. */
export async function models() {
  const response = await call("v1/models");
  return (await response.json()).data.map((model) => model.id);
}

/** Have the server give this browser a new guest cookie, if it welcomes guests. */
export async function welcome() {
  await call("./");
}

/**
 * One turn of a conversation: the server knows what was said before by the session id.
 * Yields the chunks as they come; throws ApiError, or AbortError once `signal` is aborted.
 */
export async function* chat({ model, text, sessionId, signal, onOpen }) {
  const body = { model, stream: true, messages: [{ role: "user", content: text }] };
  const response = await call("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Session-Id": sessionId },
    body: JSON.stringify(body),
    signal,
  });
  onOpen?.(response.headers);
  const requestId = response.headers.get("X-Request-Id") ?? "";
  try {
    for await (const { data } of readEvents(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError({ ...chunk.error, status: response.status, requestId });
      yield chunk;
    }
  } catch (fault) {
    if (fault instanceof ApiError || fault.name === "AbortError") throw fault;
    throw new ApiError({ code: "cut", requestId });
  }
  throw new ApiError({ code: "cut", requestId });
}

async function call(path, { headers, ...options } = {}) {
  const secret = token.get();
  const credential = secret ? { Authorization: `Bearer ${secret}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers, ...credential } });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new ApiError({ code: "unreachable" });
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** What a status says; a gateway in front may answer in HTML. */
async function refusal(response) {
  const error = await response.json().then((body) => body.error, () => null);
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new ApiError({
    message: error?.message,
    code: error?.code ?? "",
    status: response.status,
    retryAfter: Number.isNaN(wait) ? null : wait,
    requestId: response.headers.get("X-Request-Id") ?? "",
  });
}
