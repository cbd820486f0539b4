"""The Vue and the React page over ``static/stream.js``, in Chromium, through nginx."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from playwright.async_api import expect

from tests.browser.speech import speak
from tests.browser.witness import Witness
from tests.frontends.app import App
from tests.frontends.promises import (
    test_a_network_that_is_away_for_three_seconds_costs_no_word,
    test_a_reload_goes_on_where_it_was,
    test_each_word_is_shown_before_the_upstream_has_said_the_next,
    test_it_can_be_read_and_used_by_everybody_at_every_width,
    test_stop_closes_the_upstream_within_a_second_and_keeps_what_was_said,
    test_workers_that_are_replaced_in_mid_answer_cost_no_word,
)
from tests.support.steps import done, finish

__all__ = [
    "test_a_network_that_is_away_for_three_seconds_costs_no_word",
    "test_a_reload_goes_on_where_it_was",
    "test_each_word_is_shown_before_the_upstream_has_said_the_next",
    "test_it_can_be_read_and_used_by_everybody_at_every_width",
    "test_stop_closes_the_upstream_within_a_second_and_keeps_what_was_said",
    "test_workers_that_are_replaced_in_mid_answer_cost_no_word",
]

pytestmark = [pytest.mark.parametrize("app", ["vue", "react"], indirect=True), pytest.mark.gen_test(timeout=60)]
WINDOW_SECONDS = 6


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


HOSTILE = (
    "<script>globalThis.harmed = 1</script>",
    "<img src=//evil.example/x onerror='globalThis.harmed = 1'>",
    "<svg onload=globalThis.harmed=1>",
    "[click](javascript:globalThis.harmed=1)",
    "<iframe srcdoc='<script>parent.harmed = 1</script>'></iframe>",
    "{{ constructor.constructor('globalThis.harmed = 1')() }}",
    "${globalThis.harmed = 1}",
)


async def test_what_an_answer_says_is_text_and_runs_nothing(app: App) -> None:
    """Cut anywhere, as tokens are. The witness finds requests and errors."""
    text = " ".join(HOSTILE)
    app.site.upstream.once(speak([text[i : i + 7] for i in range(0, len(text), 7)], 0), finish(), done())
    await app.ask()
    await app.over()
    assert await app.answer.text_content() == text
    assert await app.page.evaluate("globalThis.harmed ?? null") is None
    assert await app.page.locator(".assistant *").count() == 0
