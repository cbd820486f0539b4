"""Which streams run now, on this worker and on all others, and how to end one from outside.

Each worker pins its list up on a shared board once a second while something runs, and before it shows the list to
anybody: what was seen at one worker can be ended at every other. When Redis is away everybody knows of their own
streams only, and says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from streamproxy.domain.ports import StreamBoard
from streamproxy.domain.streams import RunningStream
from streamproxy.errors import NotFoundError, StoreUnavailableError
from streamproxy.services.order import Running

log = logging.getLogger(__name__)

PIN_SECONDS = 1.0
# What a worker has not renewed for so long was left behind by one that is gone.
STALE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A running stream and the worker that has it."""

    worker: str
    stream: RunningStream


class StreamDirectory:
    """*worker* names this one among all; *clock* gives epoch seconds.

    *end* is called with a stream's id and its user's, on any worker.
    """

    def __init__(
        self,
        running: Running,
        board: StreamBoard,
        *,
        end: Callable[[str, str], Awaitable[None]],
        worker: str,
        clock: Callable[[], float],
    ) -> None:
        self.clock = clock
        self._end = end
        self._running = running
        self._board = board
        self._worker = worker
        self._pinned = False
        # Two at once could leave the older list on the board.
        self._pinning = asyncio.Lock()

    async def all(self) -> tuple[list[Placed], bool]:
        """What runs, in order of stream ids, and whether that is all: False when Redis is away."""
        await self.renew()
        placed = [Placed(self._worker, exchange.description) for exchange in self._running]
        complete = True
        try:
            board = await self._board.read()
        except StoreUnavailableError:
            board, complete = {}, False
        fresh = self.clock() - STALE_SECONDS
        for worker, (pinned, streams) in board.items():
            if worker != self._worker and pinned >= fresh:
                placed += [Placed(worker, stream) for stream in streams]
        return sorted(placed, key=lambda p: p.stream.stream_id), complete

    async def cancel(self, stream_id: str) -> Placed:
        """End a stream, wherever it runs: its client gets a valid ending. NotFoundError when none has that id."""
        placed = next((p for p in (await self.all())[0] if p.stream.stream_id == stream_id), None)
        if placed is None:
            raise NotFoundError("No stream of this id is running.", code="stream_not_found")
        await self._end(stream_id, placed.stream.user_id)
        return placed

    async def keep(self) -> None:
        """Run until cancelled. What is then still pinned up goes stale by itself."""
        while True:
            await self.renew()
            await asyncio.sleep(PIN_SECONDS)

    async def renew(self) -> None:
        """Pin up what runs; a Redis that is away is tried again at the next round."""
        try:
            async with self._pinning:
                await self._pin([exchange.description for exchange in self._running])
        except StoreUnavailableError:
            log.debug("running streams not pinned up: Redis is away")

    async def _pin(self, streams: Sequence[RunningStream]) -> None:
        if streams:
            self._pinned = True
            await self._board.pin(self._worker, streams, self.clock())
        elif self._pinned:
            await self._board.take_down(self._worker)
            self._pinned = False
