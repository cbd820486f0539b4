"""Hostile answers, streamed through everything into the page's own view: nothing runs, nothing is loaded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from random import Random

import pytest
from playwright.async_api import Page
from tornado.ioloop import IOLoop

from tests.browser.hostile import cut, hostile_answers
from tests.browser.site import Site
from tests.support.listener import Listener, listen
from tests.support.steps import Answer, done, finish, say

ANSWERS = 300
# A user's first reads are limited to 120 a minute: each of these batches is another guest's.
BATCH = 100
SEED = 8
MARK = "globalThis.pwned=1"
# What Markdown may become, and what the page puts around it.
ELEMENTS = frozenset(
    [
        "p",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "br",
        "blockquote",
        "ul",
        "ol",
        "li",
        "div",
        "pre",
        "code",
        "span",
        "strong",
        "em",
        "a",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "button",
        "svg",
        "path",
    ]
)
ATTRIBUTES = frozenset(
    [
        "class",
        "href",
        "target",
        "rel",
        "start",
        "tabindex",
        "type",
        "title",
        "aria-label",
        "aria-hidden",
        "viewBox",
        "d",
    ]
)
HANDLED = ("mouseover", "focus", "pointerenter", "toggle")

# Starts each answer as a stream of its own, a few at a time, and shows it as the page does; beside it every beginning
# of it that came, so that each cut is shown half open.
_SHOW_ALL = """
async ([first, last, handled]) => {
  const { startStream } = await import("/static/stream.js");
  const { AnswerView } = await import("/static/answer.js");
  const { MarkdownView } = await import("/static/view.js");
  const talk = Object.assign(document.createElement("ol"), { id: "hostile" });
  document.querySelector("main").append(talk);
  const one = async (number) => {
    const view = new AnswerView({ onGrow: () => {} });
    const half = document.createElement("div");
    const markdown = new MarkdownView(half);
    talk.append(view.element, half);
    const request = { model: "scripted", messages: [{ role: "user", content: String(number) }] };
    const onText = (text, added) => {
      view.say(added);
      markdown.update(text, { growing: true });
    };
    await startStream(request, { onText, storageKey: null }).finished;
    await view.end([], { atOnce: true });
    for (const element of view.element.querySelectorAll("*")) {
      for (const kind of handled) element.dispatchEvent(new Event(kind, { bubbles: true }));
    }
  };
  let next = first;
  const lane = async () => {
    while (next < last) await one(next++);
  };
  await Promise.all(Array.from({ length: 5 }, lane));
}
"""
_INVENTORY = """
() => {
  const elements = [...document.querySelectorAll("#hostile *")];
  return {
    elements: [...new Set(elements.map((e) => e.localName))],
    attributes: [...new Set(elements.flatMap((e) => e.getAttributeNames()))],
    schemes: [...new Set([...document.querySelectorAll("#hostile a")].map((a) => a.protocol))],
    text: document.querySelector("#hostile").textContent.length,
    pwned: globalThis.pwned ?? null,
    asked: performance.getEntriesByType("resource").map((entry) => entry.name),
    inside: document.querySelectorAll("#hostile .answer").length,
  };
}
"""


class Canary:
    """A server that nobody must ask."""

    def __init__(self) -> None:
        self.asked = 0
        self._sock = listen()
        self._listener = Listener(self._sock, self._accept)
        self.address = f"http://127.0.0.1:{self._sock.getsockname()[1]}/canary"

    async def start(self) -> None:
        self._listener.start()

    async def stop(self) -> None:
        await self._listener.stop()
        self._sock.close()

    async def _accept(self, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        self.asked += 1


@pytest.fixture
def canary(io_loop: IOLoop) -> Iterator[Canary]:
    singing = Canary()
    io_loop.run_sync(singing.start)
    yield singing
    io_loop.run_sync(singing.stop)


@pytest.fixture(scope="module")
def site_settings() -> dict[str, str]:
    return {"LIMITS__REQUESTS": "", "LIMITS__TOKENS": "", "LIMITS__CONCURRENT_STREAMS": "100"}


@pytest.mark.gen_test(timeout=110)
async def test_300_hostile_answers_streamed_in_random_cuts_run_nothing_and_load_nothing(
    site: Site, page: Page, canary: Canary
) -> None:
    """No script, no request, no element or attribute but those that Markdown becomes; the text is there."""
    answers = hostile_answers(ANSWERS, canary=canary.address, mark=MARK, seed=SEED)

    async def speak(answer: Answer) -> None:
        number = int(json.loads(answer.request.body)["messages"][-1]["content"])
        for piece in cut(answers[number], Random(number)):
            await say(piece)(answer)

    site.upstream.script(speak, finish(), done())
    for first in range(0, ANSWERS, BATCH):
        await page.context.clear_cookies()
        await page.goto(site.url)
        await page.locator("#openers button").first.wait_for()
        await page.evaluate(_SHOW_ALL, [first, first + BATCH, HANDLED])
        found = await page.evaluate(_INVENTORY)
        assert found["pwned"] is None
        assert set(found["elements"]) <= ELEMENTS
        assert set(found["attributes"]) <= ATTRIBUTES
        assert set(found["schemes"]) <= {"http:", "https:"}
        assert [url for url in found["asked"] if not url.startswith((f"{site.url}/v1/", f"{site.url}/static/"))] == []
        assert found["inside"] == BATCH
        assert found["text"] > sum(map(len, answers[first : first + BATCH])), "the answers were not shown"
    assert canary.asked == 0
    assert len(site.upstream.requests) == ANSWERS
