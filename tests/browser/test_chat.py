"""The chat page in a real browser through a real nginx: answers that write themselves, stop, and survive."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time

import pytest
from playwright.async_api import Page

from tests.browser.growth import Growth
from tests.browser.site import Site
from tests.browser.talking import ANSWER, ask, newest, text_of, until_over
from tests.browser.witness import Witness
from tests.e2e.facts import until
from tests.support.steps import Answer, Step, done, finish, gate, say, stall, usage

WORDS = [f"word{number} " for number in range(60)]
SENTENCE = "".join(WORDS).strip()
# What a cut network and a restarted nginx upstream leave in the console.
LOST = r"net::ERR|Failed to load resource"
FIRST_LETTERS_SECONDS = 0.2
TRIES = 5


def spoken(*, pace: float = 0.0) -> list[Step]:
    """The whole sentence, a word every *pace* seconds."""
    steps = [step for word in WORDS for step in (pause(pace), say(word))]
    return [*steps, finish(), usage(), done()]


def pause(seconds: float) -> Step:
    async def step(_answer: Answer) -> None:
        await asyncio.sleep(seconds)

    return step


def noted(times: list[float]) -> Step:
    """Note the upstream's clock."""

    async def step(_answer: Answer) -> None:
        times.append(time.time())

    return step


async def test_the_text_grows_in_many_steps_and_is_whole_at_the_end(site: Site, page: Page) -> None:
    """At least twenty, each of them more than the one before."""
    site.upstream.once(*spoken(pace=0.02))
    await page.goto(site.url)
    growth = Growth(page, ANSWER)
    await growth.begin()
    await ask(page, "Talk to me.")
    await growth.until(WORDS[-1].strip())
    await until_over(page)
    texts = [step.text for step in await growth.steps()]
    assert len(texts) >= 20
    assert all(later.startswith(earlier.rstrip()) for earlier, later in itertools.pairwise(texts))
    assert texts[-1].strip() == SENTENCE


async def test_the_first_letters_show_within_200_ms_of_the_upstreams_first_event(site: Site, page: Page) -> None:
    """By the clock of one machine, from the upstream's write to the element's text; the least disturbed of a few."""
    await page.goto(site.url)
    delays = []
    for _ in range(TRIES):
        begun: list[float] = []
        site.upstream.once(pause(0.3), noted(begun), say("First letters"), pause(0.1), finish(), done())
        growth = Growth(page, ANSWER)
        await growth.begin()
        await ask(page, "Quick!")
        await until_over(page)
        # The answer before stands there until this one begins to grow, from an empty text.
        steps = await growth.steps()
        delays.append(next(step.at for step in steps if step.at > begun[0]) - begun[0])
        if delays[-1] <= FIRST_LETTERS_SECONDS:
            return
    pytest.fail(f"first letters after {delays} s")


async def test_stop_closes_the_upstream_within_a_second_and_keeps_what_was_said(site: Site, page: Page) -> None:
    site.upstream.once(*(say(word) for word in WORDS[:10]), stall())
    await page.goto(site.url)
    growth = Growth(page, ANSWER)
    await growth.begin()
    await ask(page, "Talk for ever.")
    await growth.until(WORDS[9].strip())
    pressed = await page.evaluate(
        "() => { document.getElementById('stop').click(); return performance.timeOrigin + performance.now(); }"
    )
    await (await site.upstream.request()).left
    assert time.time() - pressed / 1000 <= 1
    await until_over(page)
    assert (await text_of(page)).strip() == "".join(WORDS[:10]).strip()
    assert "Stopped." in (await page.locator(".answer .status").last.inner_text())


async def test_a_network_that_is_cut_for_three_seconds_costs_nothing(site: Site, page: Page, witness: Witness) -> None:
    """The page says that it is lost, comes back by itself, and shows each word once."""
    witness.forgive(LOST)
    more = asyncio.Event()
    half = len(WORDS) // 2
    site.upstream.once(
        *(say(word) for word in WORDS[:half]),
        gate(more),
        *(say(word) for word in WORDS[half:]),
        finish(),
        usage(),
        done(),
    )
    await page.goto(site.url)
    growth = Growth(page, ANSWER)
    await growth.begin()
    await ask(page, "Talk to me.")
    await growth.until(WORDS[half - 1].strip())
    await site.network.cut()
    more.set()
    await page.locator("#lost").wait_for()
    await asyncio.sleep(3)
    site.network.mend()
    await until_over(page)
    assert (await text_of(page)).strip() == SENTENCE
    assert not await page.locator("#lost").is_visible()


async def test_workers_that_are_restarted_in_mid_answer_lose_nothing(site: Site, page: Page, witness: Witness) -> None:
    """All workers are replaced while it is written; the one that writes it drains meanwhile."""
    witness.forgive(LOST)
    more = asyncio.Event()
    site.upstream.once(say(WORDS[0]), gate(more), *(say(word) for word in WORDS[1:]), finish(), usage(), done())
    await page.goto(site.url)
    growth = Growth(page, ANSWER)
    await growth.begin()
    await ask(page, "Talk to me.")
    await growth.until(WORDS[0].strip())
    before = set(site.server.worker_pids())
    site.server.signal(signal.SIGHUP)
    await until(lambda: set(site.server.worker_pids()) - before, "a worker is new", 30)
    more.set()
    await until_over(page)
    assert (await text_of(page)).strip() == SENTENCE
    await until(lambda: not set(site.server.worker_pids()) & before, "all workers are new", 30)


async def test_a_reload_in_mid_answer_goes_on_where_it_was(site: Site, page: Page) -> None:
    """Question and text are there again, what follows is typed behind it, and the turn is in the list once."""
    more = asyncio.Event()
    half = len(WORDS) // 2
    site.upstream.once(
        *(say(word) for word in WORDS[:half]),
        gate(more),
        *(say(word) for word in WORDS[half:]),
        finish(),
        usage(),
        done(),
    )
    await page.goto(site.url)
    growth = Growth(page, ANSWER)
    await growth.begin()
    await ask(page, "Talk to me.")
    await growth.until(WORDS[half - 1].strip())
    await page.reload()
    await newest(page).get_by_text(WORDS[half - 1].strip()).wait_for()
    more.set()
    await until_over(page)
    assert (await text_of(page)).strip() == SENTENCE
    assert await page.locator("#talks .said").count() == 1
    await page.reload()
    await page.locator(".answer .again").wait_for()
    assert (await text_of(page)).strip() == SENTENCE, "the history says the same"
    assert len(site.upstream.requests) == 1


async def test_a_question_is_edited_and_an_answer_asked_for_again(site: Site, page: Page) -> None:
    """What is taken back is not sent upstream any more."""
    site.upstream.script(say("Yes."), finish(), usage(), done())
    await page.goto(site.url)
    for question in ("one", "two"):
        await ask(page, question)
        assert await told(site, page) == [*(["one", "Yes."] if question == "two" else []), question]
    await page.locator(".answer .again").click()
    assert await told(site, page) == ["one", "Yes.", "two"]
    await page.locator(".said").first.hover()
    await page.locator(".said .edit").first.click()
    await page.locator(".said textarea").fill("one, better")
    await page.locator(".said form .solid").click()
    assert await told(site, page) == ["one, better"]
    assert await page.locator("#talks .said").count() == 1


async def told(site: Site, page: Page) -> list[str]:
    """What the next request tells the upstream, once it has been answered."""
    request = await site.upstream.request()
    await page.locator(".answer:last-child .again").wait_for()
    return [message["content"] for message in request.json["messages"]]


async def test_conversations_are_listed_opened_and_forgotten(site: Site, page: Page) -> None:
    site.upstream.script(say("Yes."), finish(), usage(), done())
    await page.goto(site.url)
    await ask(page, "About cats")
    await page.locator(".answer .again").wait_for()
    await page.locator("#fresh").click()
    await ask(page, "About dogs")
    await page.locator(".answer .again").wait_for()
    titles = page.locator("#past .open")
    assert await titles.all_inner_texts() == ["About dogs", "About cats"]
    await titles.last.click()
    await page.locator("#talks .said").get_by_text("About cats").wait_for()
    await page.locator("#past li").last.hover()
    await page.locator("#past .forget").last.click()
    await page.locator("#past .sure").click()
    await page.locator("#welcome").wait_for()
    await page.reload()
    await titles.first.wait_for()
    assert await titles.all_inner_texts() == ["About dogs"]
