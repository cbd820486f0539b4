"""static/stream.js by itself, as any page uses it: in a real browser, through a real nginx."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import Page, Route

from tests.browser.site import Site
from tests.browser.witness import Witness
from tests.streams.events import lose_the_middle, until_recorded
from tests.support.steps import done, drop, finish, gate, say, stall, usage

WORDS = [f"word{number} " for number in range(20)]
REQUEST = {"model": "scripted", "messages": [{"role": "user", "content": "Talk."}]}

# Starts a stream and notes what its callbacks say; `window.stream` is the stream.
_START = """
async (request) => {
  const { startStream } = await import("/static/stream.js");
  window.noted = { states: [], chunks: 0, done: null, fault: null };
  window.stream = startStream(request, {
    onState: (state, { fault }) => noted.states.push([state, fault?.status ?? null]),
    onChunk: () => (noted.chunks += 1),
    onDone: (receipt) => (noted.done = receipt),
    onFault: (fault) => (noted.fault = { code: fault.code, status: fault.status, message: fault.message }),
  });
}
"""
_FINISHED = """
async () => {
  await stream.finished.catch(() => null);
  return { ...noted, text: stream.text, state: stream.state, kept: sessionStorage.length };
}
"""


async def begin(site: Site, page: Page) -> None:
    """A guest on a page whose policy allows our scripts, with a stream that runs."""
    await page.goto(site.url)
    await page.evaluate(_START, REQUEST)


async def finished(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = await page.evaluate(_FINISHED)
    return found


async def test_a_proxy_in_front_that_answers_502_is_waited_out(site: Site, page: Page, witness: Witness) -> None:
    """EventSource takes 502 for final. Both the POST and the reading come back, and pay for one answer."""
    witness.forgive("502")
    site.upstream.script(*(say(word) for word in WORDS), finish(), usage(), done())
    refused = {"streams": 1, "events": 2}

    async def refuse(route: Route) -> None:
        kind = "events" if "/events" in route.request.url else "streams"
        if refused[kind] > 0:
            refused[kind] -= 1
            await route.fulfill(status=502, content_type="text/html", body="<html>502 Bad Gateway</html>")
        else:
            await route.fallback()

    await page.route("**/v1/streams**", refuse)
    await page.route("**/v1/streams/*/events**", refuse)
    await begin(site, page)
    found = await finished(page)
    assert found["text"] == "".join(WORDS)
    assert found["done"]["end_reason"] == "finish"
    assert ["reconnecting", 502] in found["states"]
    assert len(site.upstream.requests) == 1


async def test_a_post_whose_answer_was_lost_is_repeated_without_a_second_answer(
    site: Site, page: Page, witness: Witness
) -> None:
    """The server has begun when the connection breaks: the same Idempotency-Key names the same stream."""
    witness.forgive("net::ERR")
    site.upstream.script(*(say(word) for word in WORDS), finish(), usage(), done())
    keys: list[str] = []

    async def lose(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            await route.fetch()
            await route.abort("connectionreset")
        else:
            await route.fallback()

    await page.route("**/v1/streams", lose)
    await begin(site, page)
    found = await finished(page)
    assert found["text"] == "".join(WORDS)
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert len(site.upstream.requests) == 1


async def test_a_server_that_cannot_just_now_is_asked_again(site: Site, page: Page, witness: Witness) -> None:
    """It has said when: its shared store was away for a moment."""
    witness.forgive("503")
    site.upstream.script(say("Here."), finish(), usage(), done())
    away = {"error": {"code": "store_unavailable", "message": "The shared store is away."}}
    keys: list[str] = []

    async def refuse(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            await route.fulfill(status=503, headers={"Retry-After": "1"}, json=away)
        else:
            await route.fallback()

    await page.route("**/v1/streams", refuse)
    await begin(site, page)
    found = await finished(page)
    assert (found["text"], found["state"]) == ("Here.", "done")
    assert found["states"][:2] == [["reconnecting", 503], ["streaming", None]]
    assert len(set(keys)) == 1


async def test_a_network_that_died_without_a_word_is_not_waited_for_for_ever(site: Site, page: Page) -> None:
    """Nobody answers the POST, and nobody refuses it."""
    asked = asyncio.Event()

    async def swallow(_route: Route) -> None:
        asked.set()

    await page.clock.install()
    await page.goto(site.url)
    await page.route("**/v1/streams", swallow)
    await page.evaluate(_START, REQUEST)
    await asked.wait()
    await page.clock.fast_forward(46_000)
    found = await finished(page)
    assert (found["state"], found["fault"]["code"], found["fault"]["status"]) == ("failed", "unreachable", 0)


async def test_chunks_are_iterated_and_a_failing_answer_throws(site: Site, page: Page) -> None:
    """What was said before it is there."""
    site.upstream.script(say("One "), say("two"), drop())
    await page.goto(site.url)
    seen = await page.evaluate(
        """async (request) => {
          const { startStream, StreamError } = await import("/static/stream.js");
          const stream = startStream(request);
          const seen = [];
          try {
            for await (const chunk of stream) seen.push(chunk.choices[0].delta.content);
          } catch (fault) {
            return { seen, known: fault instanceof StreamError, code: fault.code, kept: sessionStorage.length };
          }
        }""",
        REQUEST,
    )
    assert "".join(text for text in seen["seen"] if text) == "One two"
    assert seen["known"]
    assert seen["code"].startswith("upstream_")
    assert seen["kept"] == 0, "an answer that is over is not resumed"


async def test_cancelling_ends_with_the_receipt_and_closes_the_upstream(site: Site, page: Page) -> None:
    site.upstream.script(say("One"), stall())
    await begin(site, page)
    await page.wait_for_function("() => stream.text === 'One'")
    receipt = await page.evaluate("stream.cancel()")
    await (await site.upstream.request()).left
    found = await finished(page)
    assert receipt["end_reason"] == found["done"]["end_reason"] == "cancelled"
    assert (found["state"], found["text"], found["kept"]) == ("done", "One", 0)


async def test_what_was_left_is_taken_up_on_the_next_page(site: Site, page: Page) -> None:
    """`close` leaves the answer to go on; `resumeStream` has its text and reads each chunk that followed once."""
    more = asyncio.Event()
    site.upstream.script(say("One "), gate(more), say("two"), finish(), usage(), done())
    await begin(site, page)
    await page.wait_for_function("() => stream.text === 'One '")
    await page.evaluate("stream.close()")
    more.set()
    await page.reload()
    found = await page.evaluate(
        """async () => {
          const { resumeStream } = await import("/static/stream.js");
          const stream = resumeStream();
          const before = stream.text;
          const added = [];
          for await (const chunk of stream) added.push(chunk.choices[0]?.delta.content ?? "");
          return { before, added: added.join(""), text: stream.text, next: resumeStream() };
        }"""
    )
    assert found == {"before": "One ", "added": "two", "text": "One two", "next": None}


async def test_a_page_that_found_nothing_to_resume_leaves_nothing_to_resume(site: Site, page: Page) -> None:
    """Not even when an answer was asked for and had meanwhile: the next page would take it for one that runs."""
    site.upstream.script(say("One"), finish(), usage(), done())
    await page.goto(site.url)
    await page.evaluate("async () => { (await import('/static/stream.js')).resumeStream(); }")
    await page.evaluate(_START, REQUEST)
    assert (await finished(page))["kept"] == 0
    await page.reload()
    assert await page.evaluate("async () => (await import('/static/stream.js')).resumeStream()") is None


async def test_what_is_closed_says_nothing_more(site: Site, page: Page) -> None:
    """Also when that is at once, as where a component is mounted twice; the answer can still be taken up."""
    more = asyncio.Event()
    site.upstream.script(say("One "), gate(more), say("two"), finish(), usage(), done())
    await begin(site, page)
    await page.wait_for_function("() => stream.text === 'One '")
    await page.evaluate("stream.close()")
    found = await page.evaluate(
        """async () => {
          const { resumeStream } = await import("/static/stream.js");
          const said = [];
          const first = resumeStream({ onState: (state) => said.push(state), onText: () => said.push("text") });
          first.close();
          const second = resumeStream();
          window.both = { said, first, second };
        }"""
    )
    more.set()
    found = await page.evaluate(
        """async () => {
          await both.second.finished;
          return { said: both.said, state: both.first.state, text: both.second.text, kept: sessionStorage.length };
        }"""
    )
    assert found == {"said": ["closed"], "state": "closed", "text": "One two", "kept": 0}


async def test_a_stop_that_failed_can_be_tried_again(site: Site, page: Page, witness: Witness) -> None:
    witness.forgive("403")
    site.upstream.script(say("One"), stall())
    refused = 0

    async def refuse(route: Route) -> None:
        nonlocal refused
        refused += 1
        if refused == 1:
            await route.fulfill(status=403, json={"error": {"code": "forbidden", "message": "no"}})
        else:
            await route.fallback()

    await page.route("**/v1/streams/*/cancel", refuse)
    await begin(site, page)
    await page.wait_for_function("() => stream.text === 'One'")
    assert await page.evaluate("stream.cancel().then(() => 'done', (fault) => fault.status)") == 403
    assert (await page.evaluate("stream.cancel()"))["end_reason"] == "cancelled"
    assert (await finished(page))["state"] == "done"


async def test_what_is_lost_is_told_before_what_follows_it(site: Site, page: Page) -> None:
    """A hole in the text is never passed over in silence."""
    more = asyncio.Event()
    site.upstream.script(say("One "), gate(more), say("two "), say("three"), finish(), usage(), done())
    await begin(site, page)
    await page.wait_for_function("() => stream.text === 'One '")
    stream_id, position = await page.evaluate("() => (stream.close(), [stream.id, stream.position])")
    more.set()
    await until_recorded(site.server, stream_id)
    first = await lose_the_middle(site.server, stream_id)
    await page.reload()
    told = await page.evaluate(
        """async () => {
          const { resumeStream } = await import("/static/stream.js");
          const told = [];
          const stream = resumeStream({ onGap: (lost) => told.push(lost), onChunk: () => told.push("chunk") });
          await stream.finished;
          return told;
        }"""
    )
    assert told[0] == {"first": int(position.rpartition(".")[2]) + 1, "last": first - 1}
    assert set(told[1:]) <= {"chunk"}


async def test_what_the_server_refuses_is_said_at_once(site: Site, page: Page, witness: Witness) -> None:
    """A refusal with a reason is not repeated."""
    witness.forgive("400")
    await page.goto(site.url)
    await page.evaluate(_START, {"model": "scripted", "messages": []})
    found = await finished(page)
    assert (found["state"], found["fault"]["status"], found["fault"]["code"]) == ("failed", 400, "invalid_request")
    assert site.upstream.requests == []
