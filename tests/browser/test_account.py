"""Who may come in where guests are not welcome, and the page in Chinese."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page

from tests.browser.site import Site
from tests.browser.talking import ask, text_of
from tests.browser.witness import Witness
from tests.support.steps import done, finish, say, usage

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def site_settings() -> dict[str, str]:
    return {"AUTH__GUEST": "false"}


async def test_a_password_opens_the_page_until_its_owner_signs_out(site: Site, page: Page, witness: Witness) -> None:
    """Also after a reload; what was said is shown to nobody after it."""
    witness.forgive("401")
    site.upstream.script(say("Welcome."), finish(), usage(), done())
    async with site.server.accounts() as accounts:
        await accounts.auth.add_user("paige", password=PASSWORD)
    await page.goto(site.url)
    await page.locator("#name").fill("paige")
    await page.locator("#password").fill("wrong")
    await page.keyboard.press("Enter")
    await page.locator("#sign-in-fault").get_by_text("Name or password is wrong.").wait_for()
    await page.locator("#password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await page.locator("#who").get_by_text("paige").wait_for()
    await ask(page, "Hello")
    await page.locator(".answer .again").wait_for()
    await page.reload()
    await page.locator(".answer .again").wait_for()
    assert await text_of(page) == "Welcome."
    await page.locator("#sign-out").click()
    await page.locator("#sign-in").wait_for()
    assert await page.locator("#talks .said").count() == 0
    assert await page.locator("#past li").count() == 0


async def test_a_token_opens_this_tab(site: Site, page: Page, witness: Witness) -> None:
    """Answers are read with it too, and it is in no address."""
    witness.forgive("401")
    site.upstream.script(say("Welcome."), finish(), usage(), done())
    (person,) = await site.server.people(1)
    token = await site.server.api_token_of(person)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(site.url)
    await page.locator("#sign-in-way").click()
    await page.locator("#token").fill(token)
    await page.keyboard.press("Enter")
    await page.locator("#who").get_by_text(person.name).wait_for()
    await ask(page, "Hello")
    await page.locator(".answer .again").wait_for()
    assert await text_of(page) == "Welcome."
    assert not [url for url in asked if token in url]


async def test_a_reader_of_chinese_reads_chinese(site: Site, browser: Browser) -> None:
    context = await browser.new_context(locale="zh-CN")
    page = await context.new_page()
    await page.goto(site.url)
    await page.locator("#sign-in h2").get_by_text("登录").wait_for()
    assert await page.locator("html").get_attribute("lang") == "zh-Hans"
    await page.locator("#language").click()
    await page.locator("#sign-in h2").get_by_text("Sign in").wait_for()
    await context.close()
