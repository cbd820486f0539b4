import { computed, onMounted, onUnmounted, ref } from "vue";
import { resumeStream, startStream } from "streamproxy/stream.js";

/**
 * A conversation that survives lost connections and reloads.
 *
 * Its context is kept by the proxy under a session id, so each turn sends its own message only. `token` is a function
 * that gives this user's bearer; `storageKey` is where the tab keeps what it shows.
 */
export function useChatStream({ model, token, storageKey = "chat" }) {
  const kept = JSON.parse(sessionStorage.getItem(storageKey) ?? "null");
  const sessionId = kept?.sessionId ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const messages = ref(kept?.messages ?? []);
  const state = ref("idle"); // then connecting, streaming, reconnecting, done, failed
  const fault = ref(null);
  const now = ref(Date.now());
  const retryAt = ref(0);
  const busy = computed(() => ["connecting", "streaming", "reconnecting"].includes(state.value));
  const waitSeconds = computed(() => Math.max(0, Math.ceil((retryAt.value - now.value) / 1000)));
  let stream = null;

  const options = {
    token,
    storageKey: `${storageKey}.stream`,
    onText: (text) => (messages.value.at(-1).content = text),
    onState: (next) => (state.value = next),
    onDone: save,
    onFault: (error) => {
      fault.value = error;
      now.value = Date.now();
      retryAt.value = now.value + (error.retryAfter ?? 0) * 1000;
      if (!messages.value.at(-1).content) messages.value.splice(-2); // nothing was said: it may be asked again
      save();
    },
  };

  function send(content) {
    fault.value = null;
    state.value = "connecting";
    messages.value.push({ role: "user", content }, { role: "assistant", content: "" });
    save();
    stream = startStream({ model, session_id: sessionId, messages: [{ role: "user", content }] }, options);
  }

  function save() {
    sessionStorage.setItem(storageKey, JSON.stringify({ sessionId, messages: messages.value }));
  }

  const clock = setInterval(() => (now.value = Date.now()), 200);
  onMounted(() => {
    stream = resumeStream(options); // what a reload interrupted
    if (stream) {
      state.value = stream.state;
      messages.value.at(-1).content = stream.text;
    }
  });
  onUnmounted(() => {
    clearInterval(clock);
    stream?.close();
  });

  /** End the answer; what was said stays, here and in the session. */
  const stop = () => stream?.cancel();
  return { messages, state, busy, fault, waitSeconds, send, stop };
}
