"""Copies this worker's resumable streams into the shared log: one round trip for all of them, off the clients' way.

Every append also renews the owner's lease; a stream without news is renewed every two seconds, because models think
for minutes. When Redis is away the streams go on from memory and what is missing is written when it is back. When
Redis lost data (a fail-over, a restart) it is written again from memory. When somebody else has ended the stream,
because this worker seemed dead, the stream is fenced: its upstream is closed, and its readers go on from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from streamproxy.domain.ports import StreamLog
from streamproxy.domain.streamlog import Appended, Piece, Verdict
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.livestream import LiveStream

log = logging.getLogger(__name__)

# What comes within this time goes in one append: 20 a second and stream are plenty for who reads elsewhere.
ROUND_SECONDS = 0.05
RENEW_SECONDS = 2.0
AWAY_SECONDS = 0.25
# While Redis is away ended streams wait here to be written; nobody resumes what is older than this.
KEEP_SECONDS = 300.0


class Recorder:
    """Owns the log of every stream it was given until the ending is written. *fenced* is told of lost ones."""

    def __init__(
        self,
        store: StreamLog,
        *,
        owner: str,
        fenced: Callable[[LiveStream], None],
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self._store = store
        self._renew_seconds = renew_seconds
        self._owner = owner
        self._fenced = fenced
        self._streams: dict[str, LiveStream] = {}
        self._renewed: dict[str, float] = {}
        self._news = asyncio.Event()

    async def open(self, live: LiveStream) -> None:
        """Begin the stream's log. StoreUnavailableError when Redis is away: nobody could resume it."""
        await self._store.create(live.head, self._owner)
        self._streams[live.head.stream_id] = live
        self._renewed[live.head.stream_id] = asyncio.get_running_loop().time()

    def find(self, stream_id: str) -> LiveStream | None:
        """The stream if this worker runs it, or has just ended it."""
        return self._streams.get(stream_id)

    @property
    def streams(self) -> list[LiveStream]:
        return list(self._streams.values())

    def changed(self, _live: LiveStream) -> None:
        self._news.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._renew_seconds / 4):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            try:
                await self.write()
            except StoreUnavailableError:
                self._news.set()
                self._forget_old()
                await asyncio.sleep(AWAY_SECONDS)
            await asyncio.sleep(ROUND_SECONDS)

    async def write(self) -> None:
        """One round: everything that is not in the log yet, a batch a stream."""
        now = asyncio.get_running_loop().time()
        due = [(live, live.piece_after(live.recorded)) for live in self._streams.values()]
        due = [
            (live, piece)
            for live, piece in due
            if piece.payloads or piece.ending or now - self._renewed[live.head.stream_id] >= self._renew_seconds
        ]
        if not due:
            return
        results = await self._store.append(self._owner, [(live.head.stream_id, piece) for live, piece in due])
        for (live, piece), result in zip(due, results, strict=True):
            self._renewed[live.head.stream_id] = now
            await self._settle(live, piece, result)

    async def _settle(self, live: LiveStream, piece: Piece, result: Appended) -> None:
        if result.verdict is Verdict.WRITTEN:
            live.recorded = max(live.recorded, piece.last)
            live.read_elsewhere_ago = result.read_seconds_ago
            if live.last > live.recorded:
                self._news.set()
            elif live.ending is not None:
                self._drop(live)
        elif result.verdict is Verdict.FENCED:
            log.warning("stream %s was ended elsewhere while this worker was away", live.head.stream_id)
            self._drop(live)
            live.fence()
            self._fenced(live)
        elif result.verdict is Verdict.MISSING:
            await self._store.create(live.head, self._owner)
            live.recorded = 0
            self._news.set()
        else:
            live.recorded = result.last
            self._news.set()

    def _forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        for live in self.streams:
            if live.ending is not None and now - self._renewed[live.head.stream_id] > KEEP_SECONDS:
                self._drop(live)

    def _drop(self, live: LiveStream) -> None:
        self._streams.pop(live.head.stream_id, None)
        self._renewed.pop(live.head.stream_id, None)
