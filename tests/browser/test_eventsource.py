"""The browser's own EventSource, with no code that helps it: it comes back by itself, and stops when it is told."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.site import Site
from tests.browser.speech import TwoParts
from tests.browser.witness import Witness
from tests.e2e.facts import until
from tests.e2e.server import client_of
from tests.streams.events import start

# Notes everything that is dispatched, and never closes the source.
_LISTEN = """
(url) => {
  const source = (globalThis.source = new EventSource(url));
  const seen = (globalThis.seen = []);
  const note = ({ type, data, lastEventId }) => seen.push({ type, data, id: lastEventId });
  for (const name of ["message", "done", "failed", "gap"]) source.addEventListener(name, note);
  globalThis.errors = 0;
  source.onerror = () => (globalThis.errors += 1);
}
"""
_TEXT = """
() => globalThis.seen.filter(({ type }) => type === "message")
  .map(({ data }) => JSON.parse(data).choices[0]?.delta?.content ?? "").join("")
"""
CLOSED = 2


@pytest.mark.gen_test(timeout=90)
@pytest.mark.parametrize("silent", [False, True], ids=["reset", "silent for a while"])
async def test_a_cut_in_mid_answer_costs_no_character_and_after_the_end_it_stays_closed(
    site: Site, page: Page, witness: Witness, silent: bool
) -> None:
    """Twice cut; ids are 1 … n; the end comes once; then 204 closes it, and nothing is asked any more."""
    witness.forgive("ERR_")
    (person,) = await site.server.people(1)
    parts = TwoParts()
    site.upstream.once(*parts.script())
    stream = await start(client := client_of(site.server, person), model="scripted")
    client.close()
    await page.goto(site.url)
    await page.evaluate(_LISTEN, stream["events_url"])
    first = "".join(parts.first)
    await page.wait_for_function(f"text => ({_TEXT})().length >= text.length", arg=first)
    for _ in range(2):
        before = await page.evaluate("() => globalThis.errors")
        await site.network.cut(silent=silent)
        if silent:
            break
        await page.wait_for_function("before => globalThis.errors > before", arg=before)
        site.network.mend()
        await page.wait_for_function("() => globalThis.source.readyState === EventSource.OPEN")
    parts.go_on()
    site.network.mend()
    await page.wait_for_function(f"() => globalThis.source.readyState === {CLOSED}")
    seen: list[dict[str, Any]] = await page.evaluate("() => globalThis.seen")
    assert await page.evaluate(_TEXT) == parts.text
    assert [event["id"] for event in seen] == [f"{stream['id']}.{n}" for n in range(1, len(seen) + 1)]
    assert [event["type"] for event in seen if event["type"] != "message"] == ["done"]
    reads = await until(lambda: the_end_was_told(site, stream["id"]), "204 was told")
    assert [read["status"] for read in reads].count(204) == 1
    assert reads[-1]["status"] == 204


def the_end_was_told(site: Site, stream_id: str) -> list[dict[str, Any]]:
    """The reads of this stream in the order of their ends, once the last was answered 204."""
    reads = site.server.requests_logged(path=f"/v1/streams/{stream_id}/events")
    return reads if reads and reads[-1]["status"] == 204 else []
