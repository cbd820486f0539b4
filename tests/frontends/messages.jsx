/** What the two pages over the AI SDK show: its messages, and a form. */

import { useState } from "react";

export const textOf = ({ parts }) => parts.map((part) => (part.type === "text" ? part.text : "")).join("");

export function ChatPage({ title, messages, busy, status, onSend, onStop }) {
  const [question, setQuestion] = useState("");

  function submit(event) {
    event.preventDefault();
    onSend(question);
    setQuestion("");
  }

  return (
    <main>
      <h1>{title}</h1>
      <ol aria-label="Conversation" aria-busy={busy}>
        {messages.map((message, index) => (
          <li key={message.id} className={busy && index === messages.length - 1 ? `${message.role} typing` : message.role}>
            {textOf(message)}
          </li>
        ))}
      </ol>
      <p className="status" role="status">
        {status}
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
          <button type="button" onClick={onStop}>
            Stop
          </button>
        ) : (
          <button>Send</button>
        )}
      </form>
    </main>
  );
}
