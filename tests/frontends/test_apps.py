"""The Vue and the React page over ``static/stream.js``, in Chromium, through nginx."""

from __future__ import annotations

import asyncio
import re
import time
from itertools import pairwise
from random import Random

import pytest
from playwright.async_api import expect

from tests.browser.hostile import hostile_answers
from tests.browser.speech import speak
from tests.browser.witness import Witness
from tests.frontends.app import App
from tests.frontends.promises import *  # noqa: F403 - they are run here
from tests.support.steps import done, finish

pytestmark = [pytest.mark.parametrize("app", ["vue", "react"], indirect=True), pytest.mark.gen_test(timeout=60)]
WINDOW_SECONDS = 6
SEED = 8


@pytest.fixture(scope="module")
def site_settings() -> dict[str, str]:
    return {"LIMITS__REQUESTS": f"4/{WINDOW_SECONDS}s"}


async def test_who_asks_too_often_sees_a_countdown_at_whose_end_the_question_is_admitted(
    app: App, witness: Witness
) -> None:
    witness.forgive("429")
    for number in range(4):
        await app.ask(f"echo-{number}")
        await app.growth.until(f"echo-{number}")
        await app.over()
    await app.ask("once-more")
    await expect(app.status).to_contain_text("You may ask again in")
    await expect(app.button("Send")).to_be_disabled()
    shown: dict[int, float] = {}
    while match := re.search(r"(\d+) s", await app.status.text_content() or ""):
        shown.setdefault(int(match[1]), time.monotonic())
        await asyncio.sleep(0.05)
    assert sorted(shown, reverse=True) == list(range(max(shown), 0, -1))
    assert max(shown) <= WINDOW_SECONDS
    # It counts seconds: the whole takes as long as it said at first.
    assert abs(max(shown) - (time.monotonic() - shown[max(shown)])) < 1
    await app.ask("once-more")
    await app.growth.until("once-more")


async def test_300_hostile_answers_in_random_cuts_are_text_and_run_nothing(app: App) -> None:
    """All of them one after the other; the witness finds requests and errors."""
    random = Random(SEED)
    answers = hostile_answers(300, canary="http://127.0.0.1:1/canary", mark="globalThis.harmed=1", seed=SEED)
    text = "\n".join(answers)
    places = sorted(random.sample(range(1, len(text)), 2000))
    pieces = [text[start:end] for start, end in pairwise([0, *places, len(text)])]
    app.site.upstream.once(speak(pieces, 0), finish(), done())
    await app.ask()
    await app.over()
    assert await app.answer.text_content() == text
    assert await app.page.evaluate("globalThis.harmed ?? null") is None
    assert await app.page.locator(".assistant *").count() == 0
