"""A model that speaks at its own pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.support.steps import Answer, Step, done, finish, gate, say

# As fast as models are: some thirty words a second.
PACE_SECONDS = 0.03


def words(count: int, name: str = "word") -> list[str]:
    """``word1 word2 …``: each of them once, so that a text tells what is missing and what came twice."""
    return [f"{name}{number} " for number in range(1, count + 1)]


def speak(parts: Sequence[str], pace: float = PACE_SECONDS) -> Step:
    """Say *parts* one after another, *pace* seconds apart."""

    async def step(answer: Answer) -> None:
        for part in parts:
            await say(part)(answer)
            await asyncio.sleep(pace)

    return step


class Dictation:
    """An answer that the test says piece by piece: ``await dictation.say("Hello")``, and in the end ``finish()``."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._said: asyncio.Queue[float] = asyncio.Queue()

    async def say(self, text: str) -> float:
        """Have the upstream say *text*; when it did, in epoch seconds."""
        self._pieces.put_nowait(text)
        return await self._said.get()

    def finish(self) -> None:
        self._pieces.put_nowait(None)

    def script(self) -> list[Step]:
        return [self._take, finish(), done()]

    async def _take(self, answer: Answer) -> None:
        while (piece := await self._pieces.get()) is not None:
            self._said.put_nowait(time.time())
            await say(piece)(answer)


@dataclass(slots=True)
class TwoParts:
    """An answer that waits in its middle: ``first``, then, when ``go_on()`` was called, ``second``."""

    first: list[str] = field(default_factory=lambda: words(5, "first"))
    second: list[str] = field(default_factory=lambda: words(20, "second"))
    _rest: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def text(self) -> str:
        return "".join([*self.first, *self.second])

    @property
    def go_on(self) -> Callable[[], None]:
        return self._rest.set

    def script(self) -> list[Step]:
        return [speak(self.first, 0), gate(self._rest), speak(self.second), finish(), done()]
