"""What the chat shows: Markdown that grows, and plain text where nobody watches.

An answer is somebody else's text: control characters are taken out of it, so that it cannot write over the screen,
rename the window or paste into the next prompt.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.spinner import Spinner
from rich.text import Text

_FENCE = re.compile(r"^ {0,3}(```|~~~)", re.MULTILINE)
_TURNS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_PER_SECOND = 12


def plain(text: str) -> str:
    """*text* without control characters, and without those that turn the direction of writing."""
    return "".join(c for c in text if c in "\n\t" or not (c in _TURNS or unicodedata.category(c) in {"Cc", "Cs"}))


def settled(text: str) -> int:
    """How much of a growing *text* will not look different any more: whole blocks outside of code."""
    end = text.rfind("\n\n") + 2
    while end > 1 and len(_FENCE.findall(text[:end])) % 2:
        end = text.rfind("\n\n", 0, end - 2) + 2
    return end if end > 1 else 0


class Answer:
    """One answer on the screen. Use as ``with``: whole blocks are printed, the block that grows is drawn anew."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._text = ""
        self._printed = 0
        waiting = Spinner("dots", Text("waiting for the first words", style="dim"))
        self._live = Live(waiting, console=console, refresh_per_second=_PER_SECOND, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._console.is_terminal:
            self._console.print()
            return
        self._live.stop()
        rest = self._text[self._printed :]
        if rest.strip():
            self._console.print(Markdown(rest))

    def add(self, text: str) -> None:
        """More of it has come."""
        text = plain(text)
        self._text += text
        if not self._console.is_terminal:
            self._console.out(text, end="", highlight=False)
            return
        end = self._printed + settled(self._text[self._printed :])
        if end > self._printed:
            self._console.print(Markdown(self._text[self._printed : end]))
            self._printed = end
        self._live.update(Markdown(self._text[self._printed :]))

    def note(self, text: str) -> None:
        """A line that is no part of the answer; a file is not to have it."""
        if self._console.is_terminal:
            self._console.print(Text(text, style="dim"))


def receipt_line(receipt: Mapping[str, Any]) -> str:
    """Model, tokens and time of an answer, as far as its receipt knows them."""
    usage = receipt.get("usage") or {}
    parts = [str(receipt.get("model") or "")]
    if usage.get("total_tokens"):
        about = "about " if usage.get("estimated") else ""
        parts.append(f"{about}{usage['prompt_tokens']} + {usage['completion_tokens']} tokens")
    if receipt.get("duration_ms"):
        parts.append(f"{receipt['duration_ms'] / 1000:.1f} s")
    if receipt.get("end_reason") == "cancelled":
        parts.append("stopped")
    return " · ".join(filter(None, parts))
