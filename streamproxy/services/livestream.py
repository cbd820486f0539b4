"""A resumable stream on the worker that runs it: the list of its events, which is the truth while it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streamproxy.domain.streamlog import Ending, Piece, StreamHead, StreamState
from streamproxy.errors import StreamProxyError, UpstreamError
from streamproxy.wire import error as wire_error
from streamproxy.wire.sse import DONE

# What a reader takes, and what is written to the log, at once.
MOST_EVENTS = 64
MOST_BYTES = 1 << 16
# One stream's share of memory here and in Redis; RELIABILITY of the proxy, not of the answer, sets it.
MOST_EVENTS_OF_A_STREAM = 20_000
_DONE_PAYLOAD = DONE.removeprefix(b"data: ").strip()


class LiveStream:
    """Events are added by the one task that drives the stream; readers wait for what comes after their position.

    *changed* is called when there is something to record. *recorded* is the last event that the log holds.
    """

    def __init__(self, head: StreamHead, *, max_bytes: int, changed: Callable[[LiveStream], None]) -> None:
        self.head = head
        self.ending: Ending | None = None
        self.error: bytes = b""
        self.failure: StreamProxyError | None = None
        self.fenced = False
        self.recorded = 0
        self.readers = 0
        self.read_elsewhere_ago = float("inf")
        self._max_bytes = max_bytes
        self._changed = changed
        self._payloads: list[bytes] = []
        self._size = 0
        self._news = asyncio.Event()

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return len(self._payloads) + (self.ending is not None)

    @property
    def over(self) -> bool:
        """Nothing more will be added here."""
        return self.ending is not None or self.fenced

    def take(self, frames: bytes) -> None:
        """Add what the exchange sent. UpstreamError ``output_too_large`` when the stream outgrows its share."""
        for event in frames.split(b"\n\n")[:-1]:
            payload = event.removeprefix(b"data: ")
            if payload == _DONE_PAYLOAD:
                continue
            if payload.startswith(b'{"error":'):
                self.error = payload
                continue
            self._payloads.append(payload)
            self._size += len(payload)
        if self._size > self._max_bytes or len(self._payloads) > MOST_EVENTS_OF_A_STREAM:
            raise UpstreamError("the answer is longer than allowed", code="output_too_large")
        self._notify()

    def fail(self, error: StreamProxyError) -> None:
        """End with an error, unless it has ended."""
        self.failure = self.failure or error
        self.end(Ending(StreamState.FAILED, wire_error.encode(error)))

    def end(self, ending: Ending) -> None:
        """The terminal event, once."""
        if self.ending is None and not self.fenced:
            self.ending = ending
            self._notify()

    def fence(self) -> None:
        """The log has another end than ours will be: whoever reads here goes on there."""
        self.fenced = True
        self._notify()

    def piece_after(self, number: int) -> Piece:
        """The next events behind *number*, at most a batch of them."""
        start, end, size = min(number, len(self._payloads)), min(number, len(self._payloads)), 0
        while end < len(self._payloads) and end - start < MOST_EVENTS and size < MOST_BYTES:
            size += len(self._payloads[end])
            end += 1
        ending = self.ending if end == len(self._payloads) and number <= len(self._payloads) else None
        return Piece(start + 1, tuple(self._payloads[start:end]), ending)

    async def news(self, number: int) -> None:
        """Return when there is something behind *number*, or nothing more will come."""
        while self.last <= number and not self.over:
            await self._news.wait()

    def _notify(self) -> None:
        # Everybody who waits is woken; who comes later waits for the next.
        self._news.set()
        self._news = asyncio.Event()
        self._changed(self)
