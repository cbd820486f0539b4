/** The Vercel AI SDK's useChat over the proxy: it asks for `?format=ai-sdk`, the stream its own servers speak. */

import { Chat, useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";
import { ChatPage, textOf } from "../messages.jsx";

const authorization = () => ({ Authorization: `Bearer ${localStorage.getItem("token")}` }); // what your server gave
const chatId = (sessionStorage.chatId ??= `${Date.now()}-${Math.random().toString(36).slice(2)}`);
const kept = JSON.parse(sessionStorage.getItem("chat") ?? "[]");

/** The stream that runs: its id is in the answer's head, and it is that of the message that grows. */
const running = {
  get: () => sessionStorage.getItem("stream"),
  set: (id) => (id ? sessionStorage.setItem("stream", id) : sessionStorage.removeItem("stream")),
};

const transport = new DefaultChatTransport({
  headers: authorization,
  // Its context is kept by the proxy: each turn sends its own message only.
  prepareSendMessagesRequest: ({ messages, headers }) => ({
    api: "/v1/chat/completions?format=ai-sdk",
    headers: { ...headers, "X-Session-Id": chatId, "X-Resumable": "1" },
    body: { model: "scripted", stream: true, messages: [{ role: "user", content: textOf(messages.at(-1)) }] },
  }),
  // From its beginning, and also when it has ended meanwhile; without a position what has ended is answered 204.
  prepareReconnectToStreamRequest: ({ headers }) => {
    const id = running.get() ?? "st_0000000000000000000000"; // none: 204
    return { api: `/v1/streams/${id}/events?format=ai-sdk&last_event_id=${id}.0`, headers };
  },
  async fetch(...request) {
    const response = await fetch(...request);
    if (response.headers.has("X-Stream-Id")) running.set(response.headers.get("X-Stream-Id"));
    // 204 speaks of the stream that was asked for, and while it was on its way another one may have begun.
    if (response.status === 204 && String(request[0]).includes(running.get())) running.set(null);
    return response;
  },
});

// A Chat of our own, and no options of useChat: what that makes of them forgets that a resumed stream is a replay,
// and would show the beginning of an interrupted answer twice.
const chat = new Chat({
  id: chatId,
  messages: kept,
  transport,
  onFinish: ({ isDisconnect }) => isDisconnect || running.set(null),
});

function App() {
  const { messages, status, error, sendMessage, resumeStream } = useChat({ chat, resume: true });
  const lost = status === "error" && running.get() !== null;
  const busy = lost || status === "submitted" || status === "streaming";

  useEffect(() => sessionStorage.setItem("chat", JSON.stringify(messages)), [messages]);

  // A lost connection: the SDK replays the stream, and the message it had is replaced by the whole.
  useEffect(() => {
    if (!lost) return;
    const timer = setTimeout(() => resumeStream(), 1000);
    return () => clearTimeout(timer);
  }, [lost, error]);

  // stop() of the SDK only stops reading; the answer would go on, and be paid for.
  const stop = () => fetch(`/v1/streams/${running.get()}/cancel`, { method: "POST", headers: authorization() });

  const trouble = error && `It failed: ${error.message}`;
  return (
    <ChatPage
      title="Chat with the AI SDK"
      messages={messages}
      busy={busy}
      status={lost ? "The connection was lost; it is being restored." : trouble}
      onSend={(text) => sendMessage({ text })}
      onStop={stop}
    />
  );
}

createRoot(document.getElementById("app")).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
