/** The browser's own EventSource: one POST starts the answer, one GET reads it, as often as it must. */

import { call, chatPage, running } from "../plain.js";

const page = chatPage({ title: "Chat with EventSource", ask, resume, stop });

async function ask(question) {
  const messages = [{ role: "user", content: question }];
  const stream = await call("/v1/streams", { model: "scripted", messages });
  running.set({ ...stream, position: "", text: "" });
  return resume();
}

/** Read on from where this tab has got to; resolves at the end of the answer. */
function resume() {
  return new Promise((resolve, reject) => {
    const { id, events_url: url, position, text } = running.get();
    page.show(text);
    // The header Last-Event-ID, which EventSource sends when it reconnects by itself, wins over the query.
    const source = new EventSource(`${url}&last_event_id=${position || `${id}.0`}`);
    const over = (settle) => (source.close(), running.end(), settle());

    source.onmessage = ({ data, lastEventId }) => {
      const stream = running.get();
      stream.text += JSON.parse(data).choices[0]?.delta?.content ?? "";
      running.set({ ...stream, position: lastEventId });
      page.show(stream.text);
      page.tell("");
    };
    source.addEventListener("done", () => over(resolve)); // its data is the receipt
    source.addEventListener("failed", ({ data }) => over(() => reject(new Error(JSON.parse(data).error.message))));
    source.onerror = () => {
      page.tell("The connection was lost; it is being restored.");
      // A lost connection is taken up again by the browser. An answer that is not 200 is final for it, and 502 or
      // 503 of a proxy in front is none that a page should give up at.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => resume().then(resolve, reject), 1000);
    };
  });
}

function stop() {
  return call(`/v1/streams/${running.get().id}/cancel`);
}
