"""axe-core looks at a page for what keeps people out: https://github.com/dequelabs/axe-core."""

from __future__ import annotations

from playwright.async_api import Page

from tests.browser.packages import modules

SERIOUS = ("serious", "critical")


async def serious_faults(page: Page) -> list[str]:
    """The serious and critical ones, each with the elements at fault."""
    await page.evaluate((modules() / "axe-core" / "axe.min.js").read_text())
    # What fades in has no colour of its own yet.
    await page.evaluate("Promise.all(document.getAnimations().map((a) => a.finish()))")
    result = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']} ({fault['impact']}): {fault['help']}: {[node['html'][:200] for node in fault['nodes']]}"
        for fault in result["violations"]
        if fault["impact"] in SERIOUS
    ]
