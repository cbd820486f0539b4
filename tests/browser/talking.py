"""The chat page as its reader uses it."""

from __future__ import annotations

from playwright.async_api import Locator, Page

ANSWER = "#talks .answer .prose"


async def ask(page: Page, text: str) -> None:
    """Write a question and send it."""
    await page.locator("#question").fill(text)
    await page.keyboard.press("Enter")


async def until_over(page: Page) -> None:
    """Wait until the answer is complete: Send is there again."""
    await page.locator("#send").wait_for()


def newest(page: Page) -> Locator:
    """The newest answer's text."""
    return page.locator(ANSWER).last


async def text_of(page: Page) -> str:
    """What the newest answer says."""
    return (await newest(page).text_content()) or ""
