"""Streams that more than one worker knows of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from streamproxy.domain.streamlog import Appended, Ending, LogPage, Piece, StreamHead
from streamproxy.domain.streams import RunningStream


class StreamBoard(Protocol):
    """What runs on all workers, each of which pins up its own list."""

    async def pin(self, worker: str, streams: Sequence[RunningStream], now: float) -> None:
        """Replace what *worker* had pinned up; *now* is in epoch seconds."""

    async def take_down(self, worker: str) -> None:
        """*worker* has nothing running any more."""

    async def read(self) -> Mapping[str, tuple[float, Sequence[RunningStream]]]:
        """When each worker pinned up its list, and the list."""


class StreamLog(Protocol):
    """The shared copy of resumable streams. One writer a stream, fenced by its owner token."""

    async def create(self, head: StreamHead, owner: str) -> None:
        """Begin the log of a new stream; once more with the same owner does nothing."""

    async def append(self, owner: str, pieces: Sequence[tuple[str, Piece]]) -> Sequence[Appended]:
        """Append to several streams in one round trip. An empty piece renews the owner's lease."""

    async def read(self, wanted: Sequence[tuple[str, int]]) -> Sequence[LogPage | None]:
        """What came after each (stream id, number), in one round trip; None where there is no such stream."""

    async def head(self, stream_id: str) -> StreamHead | None:
        """What is known of the stream, None when it is unknown or no longer held."""

    async def reap(self, stream_id: str, ending: Ending) -> None:
        """End the stream in place of its dead owner; nothing when the owner lives, or somebody was quicker."""

    async def inherit(self, stream_id: str, ending: Ending) -> bool:
        """As ``reap``, for callers who ask again and again: an owner that comes back meanwhile is not dead.

        True when the caller is to settle what the owner left. It is told so once in a while.

        ``forget_running`` once that is done.
        """

    async def forget_running(self, stream_id: str) -> None:
        """The stream is settled: nobody need look after it any more."""

    async def overdue(self) -> Sequence[str]:
        """Streams whose owner has let its lease run out, and that are not settled."""

    async def claim(self, user_id: str, key: str, stream_id: str, digest: str) -> tuple[str, str]:
        """Bind an Idempotency-Key, for seconds, to a stream and the *digest* of its request: what it is bound to."""

    async def keep_claim(self, user_id: str, key: str) -> None:
        """The stream has begun: keep its key for a day."""

    async def release(self, user_id: str, key: str) -> None:
        """Unbind an Idempotency-Key."""

    async def ask_to_cancel(self, stream_id: str, user_id: str) -> None:
        """Leave word for whichever worker runs the stream."""

    async def cancellations(self) -> Sequence[tuple[str, str]]:
        """(stream id, user id) of everything that was asked lately."""

    async def use_ticket(self, stream_id: str, ticket_id: str, *, fresh: bool) -> bool:
        """A *fresh* ticket is good, and noted; an older one only if it was noted while it was fresh."""
