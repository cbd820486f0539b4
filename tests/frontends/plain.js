/** The elements of a chat page without a framework: what the two pages that use it do not want to talk about. */

const STORE = "chat";

/** What your own server gave to this user. */
export const token = () => localStorage.getItem("token");

/** A JSON call of the proxy with this user's bearer; throws what the proxy says went wrong. */
export async function call(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { Authorization: `Bearer ${token()}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}

/** What this tab knows of its running stream, `{id, events_url, position, text}`, kept over a reload. */
export const running = {
  get: () => JSON.parse(sessionStorage.getItem("stream") ?? "null"),
  set: (stream) => sessionStorage.setItem("stream", JSON.stringify(stream)),
  end: () => sessionStorage.removeItem("stream"),
};

/**
 * Builds the page. `ask(question)` and `resume()` return a promise of the end of the answer; both call `page.show(text)`
 * with all of it so far, and `page.tell(status)`.
 */
export function chatPage({ title, ask, stop, resume }) {
  const talk = JSON.parse(sessionStorage.getItem(STORE) ?? "[]");
  const list = make("ol", { ariaLabel: "Conversation" });
  const status = make("p", { className: "status", role: "status" });
  const input = make("input", { ariaLabel: "Question", autocomplete: "off", required: true });
  const button = make("button", { textContent: "Send" });
  const form = make("form", {}, input, button);
  document.querySelector("#app").append(make("main", {}, make("h1", { textContent: title }), list, status, form));
  const add = ({ role, content }) => list.append(make("li", { className: role, textContent: content }));
  talk.forEach(add);

  const page = {
    show(text) {
      talk.at(-1).content = text;
      list.lastChild.textContent = text;
    },
    tell: (text) => (status.textContent = text),
  };

  async function follow(answer) {
    list.lastChild.classList.add("typing");
    Object.assign(button, { textContent: "Stop", type: "button", onclick: stop });
    try {
      await answer;
      page.tell("");
    } catch (fault) {
      page.tell(`It failed: ${fault.message}`);
    }
    list.lastChild.classList.remove("typing");
    Object.assign(button, { textContent: "Send", type: "submit", onclick: null });
    sessionStorage.setItem(STORE, JSON.stringify(talk));
  }

  form.onsubmit = (event) => {
    event.preventDefault();
    if (button.type === "button") return;
    talk.push({ role: "user", content: input.value }, { role: "assistant", content: "" });
    talk.slice(-2).forEach(add);
    sessionStorage.setItem(STORE, JSON.stringify(talk));
    follow(ask(input.value));
    input.value = "";
  };

  queueMicrotask(() => running.get() && follow(resume()));
  return page;
}

function make(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}
