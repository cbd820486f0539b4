import { useState } from "react";
import { useChatStream } from "./useChatStream.js";

const token = () => localStorage.getItem("token"); // what your own server gave to this user

export function App() {
  const [question, setQuestion] = useState("");
  const { messages, state, busy, fault, waitSeconds, send, stop } = useChatStream({ model: "scripted", token });

  function submit(event) {
    event.preventDefault();
    send(question);
    setQuestion("");
  }

  return (
    <main>
      <h1>Chat with React</h1>
      <ol aria-label="Conversation" aria-busy={busy}>
        {messages.map(({ role, content }, index) => (
          <li key={index} className={busy && index === messages.length - 1 ? `${role} typing` : role}>
            {content}
          </li>
        ))}
      </ol>
      <p className="status" role="status">
        {statusOf({ state, fault, waitSeconds })}
      </p>
      <form onSubmit={submit}>
        <input
          value={question}
          onChange={(event) => setQuestion(event.target.value)}
          aria-label="Question"
          autoComplete="off"
          required
        />
        {busy ? (
          <button type="button" onClick={stop}>
            Stop
          </button>
        ) : (
          <button disabled={waitSeconds > 0}>Send</button>
        )}
      </form>
    </main>
  );
}

function statusOf({ state, fault, waitSeconds }) {
  if (waitSeconds > 0) return `Too many questions. You may ask again in ${waitSeconds} s.`;
  if (state === "reconnecting") return "The connection was lost; it is being restored.";
  return fault && !fault.retryAt ? `It failed: ${fault.message}` : "";
}
