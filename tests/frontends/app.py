"""One of the example pages as its user sees it."""

from __future__ import annotations

import json

from playwright.async_api import Locator, Page

from tests.browser.growth import Growth
from tests.browser.site import Site


class App:
    """The page *name*, opened by a user of its own. All example pages have the same few controls."""

    def __init__(self, site: Site, page: Page, name: str) -> None:
        self.site = site
        self.page = page
        self.name = name
        self.growth = Growth(page, ".assistant")
        self.status = page.get_by_role("status")
        self._url = f"{site.url}/apps/{name}/index.html"

    async def open(self) -> None:
        (person,) = await self.site.server.people(1)
        await self.page.context.add_init_script(f"localStorage.setItem('token', {json.dumps(person.bearer)})")
        await self.page.goto(self._url)
        await self.growth.begin()

    async def ask(self, question: str = "Talk to me.") -> None:
        await self.page.get_by_label("Question").fill(question)
        await self.button("Send").click()

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name)

    @property
    def answer(self) -> Locator:
        """The newest answer."""
        return self.page.locator(".assistant").last

    async def reload(self) -> None:
        await self.page.reload()
        await self.growth.begin()

    async def over(self) -> None:
        """Wait until the answer has ended."""
        await self.button("Send").wait_for()
