"""A time limit that counts the server's silence, not this process's own: for calls from a busy event loop.

A loop that was held up for longer than the limit finds timer and answer ready together, and uvloop runs the timer
first: every call under way would fail, and Redis be taken for dead, because this process had no time to listen.
So the timer that rings late rings once more, after what has arrived was read.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

# Enough for a few turns of the loop: read, parse, wake who waits.
LISTEN_SECONDS = 0.02


class Patience:
    """``async with``: TimeoutError after *seconds* of silence, None for never."""

    def __init__(self, seconds: float | None) -> None:
        self._bound = asyncio.timeout(None)
        self._seconds = seconds
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._bound.__aenter__()
        if self._seconds is not None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.time() + self._seconds
            self._timer = loop.call_at(self._deadline - LISTEN_SECONDS, self._listen)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._bound.__aexit__(kind, error, trace)

    def _listen(self) -> None:
        now = asyncio.get_running_loop().time()
        self._bound.reschedule(max(self._deadline, now + LISTEN_SECONDS))
