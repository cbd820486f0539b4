"""What a page looks like and whether everybody can use it: screenshots that are kept, and axe."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from playwright.async_api import Page

from tests.browser.axe import serious_faults

# Phones, tablets, desks.
WIDTHS = (360, 768, 1280)
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
# The artefacts of a run, which are no part of the repository.
ARTEFACTS = Path(__file__).parents[2] / "build" / "screenshots"


async def looked_at(page: Page, name: str) -> list[str]:
    """Keep a screenshot of every width in both themes; the serious faults of both, and where it cannot be read.

    A page that is wider than its window is a fault: on a phone one would have to push it to and fro.
    """
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    faults = []
    for theme in THEMES:
        await page.emulate_media(color_scheme=theme)
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 800})
            await page.screenshot(path=ARTEFACTS / f"{name}-{width}-{theme}.png")
            if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                faults.append(f"{width} {theme}: wider than its window")
        # At the last width: names and colours are the same at all of them.
        faults += [f"{theme}: {fault}" for fault in await serious_faults(page)]
    return faults
