"""The streams that run on all workers, as each worker last pinned them up.

One HASH holds a field a worker. A worker that was killed leaves its field behind: readers see how old it is, and it
goes for good when nobody has pinned anything up for a day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from streamproxy.domain.streams import RunningStream
from streamproxy.stores.redis import STREAM_BOARD
from streamproxy.stores.redis.connect import RedisLink

LIFE_SECONDS = 86_400


class RedisStreamBoard:
    """Fills ``domain.ports.StreamBoard``."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def pin(self, worker: str, streams: Sequence[RunningStream], now: float) -> None:
        """Replace what *worker* had pinned up; *now* is in epoch seconds."""
        await self._link.command("HSET", STREAM_BOARD, worker, msgspec.json.encode((now, streams)))
        await self._link.command("EXPIRE", STREAM_BOARD, LIFE_SECONDS)

    async def take_down(self, worker: str) -> None:
        """*worker* has nothing running any more."""
        await self._link.command("HDEL", STREAM_BOARD, worker)

    async def read(self) -> Mapping[str, tuple[float, Sequence[RunningStream]]]:
        """When each worker pinned up its list, and the list."""
        answer = await self._link.command("HGETALL", STREAM_BOARD)
        kind = tuple[float, tuple[RunningStream, ...]]
        return {worker.decode(): msgspec.json.decode(value, type=kind) for worker, value in answer.items()}
