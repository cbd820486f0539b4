"""What every example page promises. The modules that run the pages import these tests."""

from __future__ import annotations

import asyncio
import signal
import time
from itertools import accumulate

from playwright.async_api import expect

from tests.browser.inspection import looked_at
from tests.browser.speech import Dictation, TwoParts, speak, words
from tests.browser.witness import Witness
from tests.e2e.facts import until
from tests.frontends.app import App
from tests.support.steps import done, finish, say, stall

__all__ = [
    "test_a_network_that_is_away_for_three_seconds_costs_no_word",
    "test_a_reload_goes_on_where_it_was",
    "test_each_word_is_shown_before_the_upstream_has_said_the_next",
    "test_it_can_be_read_and_used_by_everybody_at_every_width",
    "test_stop_closes_the_upstream_within_a_second_and_keeps_what_was_said",
    "test_workers_that_are_replaced_in_mid_answer_cost_no_word",
]
# A bound of the contract, on a machine that may be busy with something else for a moment: once in so many tries.
TRIES = 3


async def test_each_word_is_shown_before_the_upstream_has_said_the_next(app: App) -> None:
    """So a text grows in as many steps as it has words; and its first letters are there within 200 ms."""
    delays = []
    for _ in range(TRIES):
        dictation, said = Dictation(), words(25)
        app.site.upstream.once(*dictation.script())
        await app.ask()
        times = []
        for word in said:
            times.append(await dictation.say(word))
            await app.growth.until(word)
        dictation.finish()
        await app.over()
        steps = [step for step in await app.growth.steps() if step.at > times[0]]
        assert [step.text for step in steps] == list(accumulate(said))
        delays.append(steps[0].at - times[0])
        if delays[-1] <= 0.2:
            return
    raise AssertionError(f"the first letters came after {delays} s")


async def test_stop_closes_the_upstream_within_a_second_and_keeps_what_was_said(app: App) -> None:
    delays = []
    for _ in range(TRIES):
        app.site.upstream.once(say("Well, let me think."), stall())
        await app.ask()
        await app.growth.until("let me think.")
        request = await app.site.upstream.request()
        clicked = time.monotonic()
        await app.button("Stop").click()
        await request.left
        delays.append(time.monotonic() - clicked)
        await app.over()
        await expect(app.answer).to_have_text("Well, let me think.")
        if delays[-1] <= 1:
            return
    raise AssertionError(f"the upstream was closed after {delays} s")


async def test_a_network_that_is_away_for_three_seconds_costs_no_word(app: App, witness: Witness) -> None:
    witness.forgive("ERR_")
    said = words(60)
    app.site.upstream.once(speak(said, 0.06), finish(), done())
    await app.ask()
    await app.growth.until("word5 ")
    await app.site.network.cut()
    await expect(app.status).to_contain_text("is being restored")
    await asyncio.sleep(3)
    app.site.network.mend()
    await app.over()
    assert await app.answer.text_content() == "".join(said)
    await expect(app.status).to_be_empty()


async def test_workers_that_are_replaced_in_mid_answer_cost_no_word(app: App, witness: Witness) -> None:
    witness.forgive("ERR_|50[23]")
    server, parts = app.site.server, TwoParts()
    app.site.upstream.once(*parts.script())
    await app.ask()
    await app.growth.until(parts.first[-1].strip())
    former = set(server.worker_pids())
    server.signal(signal.SIGHUP)
    await until(lambda: set(server.worker_pids()) - former, "a worker was replaced", 30)
    parts.go_on()
    await app.over()
    assert await app.answer.text_content() == parts.text
    await until(lambda: len(pids := set(server.worker_pids())) == 2 and not pids & former, "all were replaced", 30)


async def test_it_can_be_read_and_used_by_everybody_at_every_width(app: App) -> None:
    """Axe finds no serious fault; screenshots are kept."""
    app.site.upstream.once(speak(words(40), 0), finish(), done())
    await app.ask()
    await app.over()
    assert await looked_at(app.page, app.name) == []


async def test_a_reload_goes_on_where_it_was(app: App) -> None:
    parts = TwoParts()
    app.site.upstream.once(*parts.script())
    await app.ask("What did you say?")
    await app.growth.until(parts.first[-1].strip())
    await app.reload()
    await expect(app.answer).to_have_text("".join(parts.first).strip())
    parts.go_on()
    await app.over()
    assert await app.answer.text_content() == parts.text
    await app.reload()
    assert await app.answer.text_content() == parts.text
    await expect(app.page.locator(".user")).to_have_text("What did you say?")
    assert len(app.site.upstream.requests) == 1
