/** @microsoft/fetch-event-source: an EventSource that can send the bearer, and decides itself when to come back. */

import { fetchEventSource } from "@microsoft/fetch-event-source";
import { call, chatPage, running, token } from "../plain.js";

const page = chatPage({ title: "Chat with fetch-event-source", ask, resume, stop });

class Final extends Error {}

async function ask(question) {
  const messages = [{ role: "user", content: question }];
  const { id } = await call("/v1/streams", { model: "scripted", messages });
  running.set({ id, position: "", text: "" });
  return resume();
}

/** Read on from where this tab has got to; resolves at the end of the answer. */
async function resume() {
  const { id, position, text } = running.get();
  page.show(text);
  let over = false;
  await fetchEventSource(`/v1/streams/${id}/events`, {
    // In small letters, as it writes them itself when it comes back: two spellings would be sent as two headers.
    headers: { authorization: `Bearer ${token()}`, "last-event-id": position || `${id}.0` },
    openWhenHidden: true, // or it closes, and asks again, whenever the tab is left
    async onopen(response) {
      if (response.status === 204) over = true; // all was seen
      else if (response.status >= 500 || response.status === 429) throw new Error("passing");
      else if (!response.ok) throw new Final((await response.json()).error.message);
    },
    onmessage({ id: position, event, data }) {
      over = event === "done";
      if (event === "failed") throw new Final(JSON.parse(data).error.message);
      if (event || !data) return;
      const said = running.get().text + (JSON.parse(data).choices[0]?.delta?.content ?? "");
      running.set({ id, position, text: said });
      page.show(said);
      page.tell("");
    },
    onclose() {
      if (!over) throw new Error("cut"); // goes to onerror
    },
    onerror(fault) {
      if (fault instanceof Final) throw fault; // ends it
      page.tell("The connection was lost; it is being restored.");
      return 1000; // milliseconds until it comes back, with the last id
    },
  }).finally(running.end);
}

function stop() {
  return call(`/v1/streams/${running.get().id}/cancel`);
}
