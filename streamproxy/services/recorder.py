"""Copies this worker's resumable streams into the shared log: one round trip for all of them, off the clients' way.

Every append also renews the owner's lease; a stream without news is renewed all the same, because models think for
minutes. When Redis is away the streams go on from memory and what is missing is written when it is back. When Redis
lost data (a fail-over, a restart) it is written again from memory. When somebody else has ended the stream, because
this worker seemed dead, the stream is fenced: its upstream is closed, and its readers go on from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from streamproxy.domain.ports import StreamLog
from streamproxy.domain.streamlog import Appended, Piece, Verdict
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.livestream import LiveStream

log = logging.getLogger(__name__)

# An append costs some ten times what an event in it costs, so events are collected: for as long as the readers
# elsewhere, who look ten times a second, hardly notice …
ROUND_SECONDS = 0.1
# … and longer where nobody has read elsewhere lately. It is what a killed worker loses of an answer at most.
UNREAD_SECONDS = 0.3
LATELY_SECONDS = 5.0
AWAY_SECONDS = 0.25
# While Redis is away ended streams wait here to be written; nobody resumes what is older than this.
KEEP_SECONDS = 300.0


@dataclass(slots=True)
class _Recording:
    live: LiveStream
    written: float


class Recorder:
    """Owns the log of every stream it was given until the ending is written. *fenced* is told of lost ones."""

    def __init__(
        self, store: StreamLog, *, owner: str, fenced: Callable[[LiveStream], None], renew_seconds: float
    ) -> None:
        self._store = store
        self._renew_seconds = renew_seconds
        self._owner = owner
        self._fenced = fenced
        self._recordings: dict[str, _Recording] = {}
        self._news = asyncio.Event()

    async def open(self, live: LiveStream) -> None:
        """Begin the stream's log. StoreUnavailableError when Redis is away: nobody could resume it."""
        await self._store.create(live.head, self._owner)
        self._recordings[live.head.stream_id] = _Recording(live, asyncio.get_running_loop().time())

    def find(self, stream_id: str) -> LiveStream | None:
        """The stream if this worker runs it, or has just ended it."""
        recording = self._recordings.get(stream_id)
        return recording.live if recording is not None else None

    @property
    def streams(self) -> list[LiveStream]:
        return [recording.live for recording in self._recordings.values()]

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
                await self._write(everything=False)
            except StoreUnavailableError:
                self._news.set()
                self._forget_old()
                await asyncio.sleep(AWAY_SECONDS)
            await asyncio.sleep(ROUND_SECONDS)

    async def flush(self) -> None:
        """Write everything that is not in the log yet. StoreUnavailableError when Redis does not take it."""
        while any(live.last > live.recorded for live in self.streams):
            await self._write(everything=True)

    async def _write(self, *, everything: bool) -> None:
        """One round: what is due of what is not in the log yet, a batch a stream."""
        now = asyncio.get_running_loop().time()
        due = [
            (recording, recording.live.piece_after(recording.live.recorded))
            for recording in self._recordings.values()
            if everything or self._is_due(recording, now)
        ]
        if not due:
            return
        results = await self._store.append(self._owner, [(r.live.head.stream_id, piece) for r, piece in due])
        for (recording, piece), result in zip(due, results, strict=True):
            recording.written = now
            await self._settle(recording.live, piece, result)

    def _is_due(self, recording: _Recording, now: float) -> bool:
        live, ago = recording.live, now - recording.written
        if live.last <= live.recorded:
            return ago >= self._renew_seconds
        unread = live.recorded > 0 and live.read_elsewhere_ago + ago > LATELY_SECONDS
        if live.ending is not None or not unread or ago >= UNREAD_SECONDS:
            return True
        # Looked at again in the next round.
        self._news.set()
        return False

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
        for recording in list(self._recordings.values()):
            if recording.live.ending is not None and now - recording.written > KEEP_SECONDS:
                self._drop(recording.live)

    def _drop(self, live: LiveStream) -> None:
        self._recordings.pop(live.head.stream_id, None)
