"""When an owner is taken for dead: by what is seen now, not by what somebody saw long ago."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from streamproxy.domain.streamlog import LogPage
from streamproxy.services.tailer import GOOD_ANSWERS, Tailer

STREAM = "st_AAAAAAAAAAAAAAAAAAAAAA"


class OverdueLog:
    """A log whose owner has let its lease run out."""

    async def read(self, wanted: Sequence[tuple[str, int]]) -> list[LogPage]:
        return [LogPage(overdue=1.0) for _ in wanted]


class Watched:
    """A tailer without patience, one reader, and who was declared dead."""

    def __init__(self) -> None:
        self.dead: list[str] = []
        log: Any = OverdueLog()
        self.tailer = Tailer(log, bury=self._bury, patience_seconds=0)

    async def _bury(self, stream_id: str) -> None:
        self.dead.append(stream_id)

    async def look(self, times: int) -> None:
        """As a reader who leaves after so many rounds."""
        reading = asyncio.create_task(self.tailer.next(STREAM, 0))
        await asyncio.sleep(0)
        for _ in range(times):
            await self.tailer._round()
        reading.cancel()
        await asyncio.wait({reading})


async def test_an_owner_is_dead_after_enough_answers() -> None:
    watched = Watched()
    await watched.look(GOOD_ANSWERS)
    assert watched.dead == [STREAM]


async def test_what_an_earlier_reader_saw_does_not_count() -> None:
    """Redis may have been away both times, and well in between."""
    watched = Watched()
    await watched.look(GOOD_ANSWERS - 1)
    await watched.tailer._round()
    await watched.look(GOOD_ANSWERS - 1)
    assert watched.dead == []
