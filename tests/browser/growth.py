"""How a text grew on a page: an observer inside the page notes each new text, and when."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.async_api import Page

# Notes [epoch milliseconds, text] whenever the last element that matches shows another text than before.
_OBSERVE = """
([name, selector]) => {
  const notes = ((globalThis.__growth ??= {})[name] = []);
  const note = () => {
    const text = [...document.querySelectorAll(selector)].at(-1)?.textContent ?? "";
    if (text !== (notes.at(-1)?.[1] ?? "")) notes.push([performance.timeOrigin + performance.now(), text]);
  };
  new MutationObserver(note).observe(document, { subtree: true, childList: true, characterData: true });
  note();
}
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What stood there from *at* (epoch seconds) on."""

    at: float
    text: str


class Growth:
    """The texts that the last element matching *selector* has shown since ``begin``."""

    def __init__(self, page: Page, selector: str) -> None:
        self._page = page
        self._selector = selector
        self._name = selector

    async def begin(self) -> None:
        await self._page.evaluate(_OBSERVE, [self._name, self._selector])

    async def steps(self) -> list[Step]:
        """All of them so far, empty ones left out. A reload forgets: call ``begin`` again."""
        notes = await self._page.evaluate("name => globalThis.__growth[name]", self._name)
        return [Step(at / 1000, text) for at, text in notes if text]

    async def until(self, text: str, *, seconds: float = 20) -> None:
        """Wait until *text* is part of what is shown."""
        await self._page.wait_for_function(
            "([selector, text]) => [...document.querySelectorAll(selector)].at(-1)?.textContent.includes(text)",
            arg=[self._selector, text],
            timeout=seconds * 1000,
        )
