/**
 * The Vercel AI SDK with its OpenAI-compatible provider: the model is called from the page, over plain `/v1`.
 *
 * A plain answer ends with its connection: stop closes the upstream, and nothing is there to be resumed.
 */

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { useChat } from "@ai-sdk/react";
import { DirectChatTransport, ToolLoopAgent } from "ai";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ChatPage } from "../messages.jsx";

const provider = createOpenAICompatible({
  name: "streamproxy",
  baseURL: new URL("/v1", location.href).href,
  apiKey: localStorage.getItem("token"), // a bearer: what your own server gave to this user
});
const transport = new DirectChatTransport({ agent: new ToolLoopAgent({ model: provider("scripted") }) });

function App() {
  const { messages, status, error, sendMessage, stop } = useChat({ transport });
  return (
    <ChatPage
      title="Chat with a provider of the AI SDK"
      messages={messages}
      busy={status === "submitted" || status === "streaming"}
      status={error && `It failed: ${error.message}`}
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
