"""How the page looks and whom it keeps out: axe finds nothing serious; screenshots are kept to be looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page

from tests.browser import axe
from tests.browser.site import Site
from tests.browser.talking import ask
from tests.browser.witness import Witness
from tests.support.steps import done, drop, finish, say, usage

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
WIDTHS = (360, 768, 1280)
HEIGHTS = {360: 740, 768: 1024, 1280: 800}
ANSWER = """\
### A little of everything

1. **bold**, *italic*, `code` and [a link](https://example.com)
2. a second item

> A quotation, as long as it needs to be.

```python
def fibonacci(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
```

| n | 1 | 2 | 3 | 10 |
|---|--:|--:|--:|---:|
| `fibonacci(n)` | 1 | 1 | 2 | 55 |
"""


async def welcome(page: Page) -> None:
    await page.locator("#openers button").first.wait_for()


async def answered(page: Page) -> None:
    await ask(page, "Show me Markdown and code")
    await page.locator(".answer .again").wait_for()


async def failed(page: Page) -> None:
    await ask(page, "Fail")
    await page.locator(".trouble").wait_for()


async def editing(page: Page) -> None:
    await page.locator(".said .edit").first.click()


async def listed(page: Page) -> None:
    await page.keyboard.press("Escape")
    if await page.locator("#side-open").is_visible():
        await page.locator("#side-open").click()
        await page.locator("#side.is-open").wait_for()


async def signing_in(page: Page) -> None:
    await page.locator("#sign-in-open").click()
    if await page.locator("#side-close").is_visible():
        await page.locator("#side-close").click()


STATES: tuple[Callable[[Page], Awaitable[None]], ...] = (welcome, answered, failed, editing, listed, signing_in)


@pytest.mark.gen_test(timeout=110)
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_state_of_the_page_has_a_serious_fault(
    site: Site, page: Page, witness: Witness, theme: Literal["light", "dark"]
) -> None:
    """At three widths in both themes, nothing is wider than the screen; each is kept as a picture."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    witness.forgive("401|502")
    await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    for width in WIDTHS:
        site.upstream.once(say(ANSWER), finish(), usage(), done())
        site.upstream.once(say("One "), drop())
        await page.context.clear_cookies()
        await page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
        await page.goto("about:blank")
        await page.goto(site.url)
        for state in STATES:
            await state(page)
            await page.screenshot(path=SCREENSHOTS / f"chat-{state.__name__}-{width}-{theme}.png")
            faults = await axe.serious_faults(page)
            assert not faults, f"{state.__name__} at {width}: {faults}"
            wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{state.__name__} at {width} is {wide} px too wide"
