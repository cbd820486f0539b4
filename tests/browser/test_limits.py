"""Limits on the page: what is left, in plain words, and a countdown that is right."""

from __future__ import annotations

import re
import time

import pytest
from playwright.async_api import Page

from tests.browser.site import Site
from tests.browser.talking import ask
from tests.browser.witness import Witness
from tests.support.steps import done, finish, say

WINDOW = 5


@pytest.fixture(scope="module")
def site_settings() -> dict[str, str]:
    return {"LIMITS__REQUESTS": f"1/{WINDOW}s,20/calendar-day"}


# [epoch milliseconds, text] of each text that the line of the limits has shown.
_WATCH = """
() => {
  const line = document.getElementById("limits");
  globalThis.__shown = [];
  new MutationObserver(() => __shown.push([Date.now(), line.textContent]))
    .observe(line, { childList: true, characterData: true, subtree: true });
}
"""


async def test_a_refusal_counts_down_to_the_moment_when_a_question_is_taken(
    site: Site, page: Page, witness: Witness
) -> None:
    """Each second is shown when it is true, nothing can be sent meanwhile, and who obeys is admitted."""
    witness.forgive("429")
    site.upstream.script(say("Yes."), finish(), done())
    await page.goto(site.url)
    await ask(page, "one")
    await page.locator(".answer .again").wait_for()
    assert "19 of 20 questions left today" in await page.locator("#limits").inner_text()
    await page.evaluate(_WATCH)
    async with page.expect_response(lambda r: r.url.endswith("/v1/streams")) as refused:
        await ask(page, "two")
    response = await refused.value
    heard, seconds = time.time(), int(response.headers["retry-after"])
    assert response.status == 429
    await page.locator("#limits.blocked").wait_for()
    await page.locator("#question").fill("three")
    assert await page.locator("#send").is_disabled()
    await page.locator("#limits:not(.blocked)").wait_for()
    free = time.time()
    assert seconds - 1 <= free - heard, "nobody is let go early"
    shown = [(at / 1000, int(found[1])) for at, text in await shown_texts(page) if (found := _SECONDS.search(text))]
    numbers = [left for _, left in shown]
    assert numbers[0] == seconds
    assert numbers == sorted(set(numbers), reverse=True)
    end = shown[0][0] + seconds
    for at, left in shown:
        assert left - 1 <= end - at <= left + 0.5, f"{left} s were shown {end - at:.2f} s before the end"
    await page.locator("#send").click()
    await page.locator(".answer:last-child .again").wait_for()


_SECONDS = re.compile(r"You can ask again in (\d+) s")


async def shown_texts(page: Page) -> list[tuple[float, str]]:
    found: list[tuple[float, str]] = await page.evaluate("__shown")
    return found
