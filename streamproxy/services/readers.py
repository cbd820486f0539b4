"""Readers of resumable streams: each at its own position, in memory where the stream runs, in the log elsewhere.

Replay and tail are one loop. Nothing is queued for a reader: a slow one costs nobody else anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from streamproxy.domain.streamlog import Ending, Piece, StreamState
from streamproxy.errors import RateLimitError, UpstreamError
from streamproxy.services.livestream import LiveStream
from streamproxy.services.sources import Source
from streamproxy.services.tailer import Tailer
from streamproxy.wire import error as wire_error

MOST_READERS = 8


class Readers:
    """The readers of one worker; at most MOST_READERS a stream."""

    def __init__(self, tailer: Tailer) -> None:
        self._tailer = tailer
        self._count: Counter[str] = Counter()

    @contextmanager
    def place(self, source: Source) -> Iterator[None]:
        """Hold a reader's place. RateLimitError when there is none."""
        stream_id, live = source.head.stream_id, source.live
        if self._count[stream_id] >= MOST_READERS:
            raise RateLimitError("Too many readers of this stream.", code="too_many_readers", retry_after=5)
        self._count[stream_id] += 1
        if live is not None:
            live.readers += 1
        try:
            yield
        finally:
            self._count[stream_id] -= 1
            if not self._count[stream_id]:
                del self._count[stream_id]
            if live is not None:
                live.readers -= 1

    async def pieces(self, source: Source, after: int) -> AsyncGenerator[Piece, None]:
        """Everything behind *after*, as it comes, the ending last; without one for who has seen more than there was.

        A piece that does not begin right behind the last one says that what lies between is lost.
        """
        live = source.live
        if live is not None:
            async for piece in _remembered(live, after):
                after = piece.last
                yield piece
                if piece.ending is not None:
                    return
            if not live.fenced:
                return
        async for piece in self._tailed(source.head.stream_id, after):
            yield piece

    async def _tailed(self, stream_id: str, after: int) -> AsyncGenerator[Piece, None]:
        while True:
            page = await self._tailer.next(stream_id, after)
            if page is None:
                # The log is gone under a reader: nobody knows the rest any more.
                yield Piece(after + 1, ending=lost("stream_expired"))
                return
            for piece in page.pieces:
                news = piece.after(after)
                after = max(after, news.last)
                yield news
                if news.ending is not None:
                    return
            if page.state is not StreamState.RUNNING and not page.pieces:
                if page.last == after:
                    # It has seen the end before the log had it; 204 will tell it so.
                    return
                # This reader had seen events that the log lost with its owner, or the log lost its end.
                code = "owner_lost" if page.last < after else "stream_expired"
                yield Piece(after + 1, ending=lost(code))
                return


async def _remembered(live: LiveStream, after: int) -> AsyncGenerator[Piece, None]:
    while not live.fenced:
        await live.news(after)
        piece = live.piece_after(after)
        if piece.payloads or piece.ending:
            after = piece.last
            yield piece
        if live.ending is not None and after >= live.last:
            return


def lost(code: str) -> Ending:
    """The terminal event of a stream whose own will never come."""
    return Ending(StreamState.FAILED, wire_error.encode(UpstreamError("The stream broke off.", code=code)))
