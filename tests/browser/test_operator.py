"""The operator's page in a real browser: what runs, what failed, and nobody else's eyes."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from playwright.async_api import Page

from streamproxy.domain.identity import Role
from tests.browser import axe
from tests.browser.site import Site
from tests.browser.test_looks import HEIGHTS, SCREENSHOTS, WIDTHS
from tests.browser.witness import Witness
from tests.support.http import Client
from tests.support.steps import done, drop, finish, gate, say, usage

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def site_settings() -> dict[str, str]:
    """A few keys: the list of all that other tests plant is long."""
    return {"UPSTREAM__API_KEYS": "sk-planted-operator-1,sk-planted-operator-2,sk-planted-operator-3"}


async def sign_in(site: Site, page: Page, name: str, role: Role) -> None:
    """Make the account, and sign in with it as a person does."""
    async with site.server.accounts() as accounts:
        await accounts.auth.add_user(name, password=PASSWORD, role=role)
    await page.goto(f"{site.url}/admin/ui")
    await page.locator("#name").fill(name)
    await page.locator("#password").fill(PASSWORD)
    await page.locator("#sign-in .solid").click()


async def test_a_running_stream_is_shown_and_ended(site: Site, page: Page, witness: Witness) -> None:
    """Its upstream is closed; the row goes away by itself."""
    witness.forgive("401")
    (person,) = await site.server.people(1)
    client = Client(site.network.port, person.bearer)
    site.upstream.once(say("Hel"), gate(asyncio.Event()))
    running = await client.open_chat()
    await running.head()
    await sign_in(site, page, "ender", Role.ADMIN)
    row = page.locator("#streams tbody tr").filter(has_text=person.name)
    await row.get_by_role("button").click()
    await (await site.upstream.request()).left
    await page.locator("#streams .nothing").wait_for()
    client.close()


async def test_who_is_no_admin_sees_nothing(site: Site, page: Page, witness: Witness) -> None:
    witness.forgive("401|403")
    await sign_in(site, page, "curious", Role.USER)
    await page.locator("#sign-in-fault").get_by_text("no admin").wait_for()
    assert not await page.locator(".panels").is_visible()


@pytest.mark.gen_test(timeout=110)
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_panels_tell_what_happened_and_have_no_serious_fault(
    site: Site, page: Page, witness: Witness, theme: Literal["light", "dark"]
) -> None:
    """Usage, a failure, keys, users and limits, at three widths in both themes, each kept as a picture."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    witness.forgive("401")
    (person,) = await site.server.people(1)
    client = Client(site.network.port, person.bearer)
    site.upstream.once(say("Fine."), finish(), usage(), done())
    await client.chat()
    site.upstream.once(say("One "), drop())
    await client.chat()
    client.close()
    await site.server.usage(person, 2)
    await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    await sign_in(site, page, f"looker-{theme}", Role.ADMIN)
    await page.locator("#failures .badge").first.wait_for()
    assert person.name in await page.locator("#failures").inner_text()
    assert person.name in await page.locator("#users").inner_text()
    assert "healthy" in await page.locator("#keys").inner_text()
    assert await page.locator("#limits td").count() > 0
    assert await page.locator("#chart rect[height]:not([height='0'])").count() == 1
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
        await page.screenshot(path=SCREENSHOTS / f"operator-{width}-{theme}.png", full_page=True)
        assert await axe.serious_faults(page) == []
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{wide} px too wide at {width}"
