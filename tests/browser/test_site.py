"""The browser, the network and the witness keep what tests rely on. The first test is the one to begin yours from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from playwright.async_api import Page
from tornado.ioloop import IOLoop

from tests.browser.axe import serious_faults
from tests.browser.growth import Growth
from tests.browser.site import Site
from tests.browser.witness import Witness
from tests.support.http import Client
from tests.support.steps import done, finish, gate, say

WORDS = [f"word{number} " for number in range(40)]


async def test_the_answer_writes_itself_while_the_upstream_is_still_speaking(site: Site, page: Page) -> None:
    the_rest = asyncio.Event()
    site.upstream.once(say("First words, "), gate(the_rest), *(say(word) for word in WORDS), finish(), done())
    await page.goto(site.url)
    growth = Growth(page, ".answer .prose")
    await growth.begin()
    await page.get_by_role("textbox").first.fill("Talk to me.")
    await page.keyboard.press("Enter")
    await growth.until("First words,")
    assert site.upstream.running == 1, "the upstream waits for the test: it cannot have finished"
    the_rest.set()
    await growth.until(WORDS[-1].strip())
    assert len(await growth.steps()) >= 5


@pytest.fixture
def caller(io_loop: IOLoop, site: Site) -> Iterator[Client]:
    """Speaks through the network."""
    (person,) = io_loop.run_sync(lambda: site.server.people(1))
    client = Client(site.network.port, person.bearer)
    yield client
    client.close()


async def test_what_runs_when_the_network_is_cut_is_lost_and_nothing_new_gets_through(
    site: Site, caller: Client
) -> None:
    site.upstream.once(say("first"), gate(asyncio.Event()))
    running = await caller.open_chat()
    await running.head()
    await running.frame()
    await site.network.cut()
    with pytest.raises(ConnectionError):
        await running.frame()
    with pytest.raises(ConnectionError):
        await caller.ask("GET", "/healthz")
    assert site.network.refused == 1
    site.network.mend()
    assert (await caller.ask("GET", "/healthz")).status == 200


async def test_a_silent_cut_keeps_the_bytes_until_it_is_mended(site: Site, caller: Client) -> None:
    cut = asyncio.Event()
    site.upstream.once(say("first"), gate(cut), say("second"), finish(), done())
    running = await caller.open_chat()
    await running.head()
    await running.frame()
    await site.network.cut(silent=True)
    cut.set()
    waiting = asyncio.create_task(running.piece())
    await (await site.upstream.request()).left
    assert not waiting.done()
    site.network.mend()
    assert b"second" in await waiting


async def test_console_errors_exceptions_and_requests_to_others_are_noticed(
    site: Site, page: Page, witness: Witness
) -> None:
    await page.goto(f"{site.url}/healthz")
    await page.evaluate("console.error('a complaint')")
    await page.evaluate("setTimeout(() => { throw new Error('a fault') })")
    async with page.expect_event("requestfailed"):
        await page.evaluate("fetch('http://127.0.0.1:1/').catch(() => {})")
    noticed = " ".join(witness.unforgiven())
    for trace in ("console: a complaint", "uncaught:", "a fault", "request to http://127.0.0.1:1/"):
        assert trace in noticed
    witness.forgive("a complaint")
    assert "a complaint" not in " ".join(witness.unforgiven())
    witness.faults.clear()
    witness.strange_requests.clear()


async def test_axe_finds_what_nobody_could_use_or_read(page: Page) -> None:
    await page.set_content(
        "<html lang=en><title>x</title><body style='background:#fff'><main>"
        "<button></button><p style='color:#eee'>pale</p></main></body></html>"
    )
    faults = " ".join(await serious_faults(page))
    assert "button-name" in faults
    assert "color-contrast" in faults
