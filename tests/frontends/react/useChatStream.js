import { useCallback, useEffect, useRef, useState } from "react";
import { resumeStream, startStream } from "streamproxy/stream.js";

/**
 * A conversation that survives lost connections and reloads.
 *
 * Its context is kept by the proxy under a session id, so each turn sends its own message only. `token` is a function
 * that gives this user's bearer; `storageKey` is where the tab keeps what it shows.
 */
export function useChatStream({ model, token, storageKey = "chat" }) {
  const [{ sessionId, messages }, setTalk] = useState(() => recall(storageKey));
  const [state, setState] = useState("idle"); // then connecting, streaming, reconnecting, done, failed
  const [fault, setFault] = useState(null);
  const stream = useRef(null);
  const waitSeconds = useCountdown(fault?.retryAt ?? 0);
  const busy = ["connecting", "streaming", "reconnecting"].includes(state);

  const change = useCallback((changed) => setTalk((talk) => ({ ...talk, messages: changed(talk.messages) })), []);
  const show = useCallback((content) => change((all) => [...all.slice(0, -1), { role: "assistant", content }]), [change]);

  const options = useCallback(
    () => ({
      token,
      storageKey: `${storageKey}.stream`,
      onText: show,
      onState: setState,
      onFault: (error) => {
        setFault({ message: error.message, retryAt: error.retryAfter ? Date.now() + error.retryAfter * 1000 : 0 });
        // Nothing was said: it may be asked again.
        change((all) => (all.at(-1).content ? all : all.slice(0, -2)));
      },
    }),
    [token, storageKey, show, change],
  );

  useEffect(() => {
    stream.current = resumeStream(options()); // what a reload interrupted
    if (stream.current) {
      setState(stream.current.state);
      show(stream.current.text);
    }
    return () => stream.current?.close();
  }, [options, show]);

  // Once a turn and not once a chunk: what has come of a running answer is remembered by the stream itself.
  useEffect(() => {
    sessionStorage.setItem(storageKey, JSON.stringify({ sessionId, messages }));
  }, [storageKey, sessionId, messages.length, busy]);

  const send = (content) => {
    setFault(null);
    setState("connecting");
    change((all) => [...all, { role: "user", content }, { role: "assistant", content: "" }]);
    stream.current = startStream({ model, session_id: sessionId, messages: [{ role: "user", content }] }, options());
  };

  /** End the answer; what was said stays, here and in the session. */
  const stop = () => stream.current?.cancel();
  return { messages, state, busy, fault, waitSeconds, send, stop };
}

function recall(storageKey) {
  const kept = JSON.parse(sessionStorage.getItem(storageKey) ?? "null");
  return kept ?? { sessionId: `${Date.now()}-${Math.random().toString(36).slice(2)}`, messages: [] };
}

/** Whole seconds until `due` (epoch milliseconds), 0 when it is over. */
function useCountdown(due) {
  const [, tick] = useState(0);
  const left = Math.max(0, Math.ceil((due - Date.now()) / 1000));
  useEffect(() => {
    if (left === 0) return;
    const timer = setInterval(() => tick((count) => count + 1), 200);
    return () => clearInterval(timer);
  }, [left === 0]);
  return left;
}
