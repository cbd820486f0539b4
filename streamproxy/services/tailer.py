"""Reads the shared log for everybody on this worker whose stream runs elsewhere: one round trip for all of them.

It also finds out that an owner is dead: its lease is over, and stays so while Redis answers well for long enough that
a living owner would have renewed it (Redis itself may have been away, and then every lease is over for a moment).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from streamproxy.domain.ports import StreamLog
from streamproxy.domain.streamlog import LogPage, StreamState
from streamproxy.errors import StoreUnavailableError

POLL_SECONDS = 0.1
# A living owner renews every two seconds: three good answers over this time without a renewal, and it is dead.
PATIENCE_SECONDS = 3.0
GOOD_ANSWERS = 3


@dataclass(slots=True)
class _Overdue:
    since: float
    answers: int = 0


class Tailer:
    """*bury* is called with the id of a stream whose owner is dead."""

    def __init__(
        self, store: StreamLog, *, bury: Callable[[str], Awaitable[None]], patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._store = store
        self._patience = patience_seconds
        self._bury = bury
        self._waiting: dict[asyncio.Future[LogPage | None], tuple[str, int]] = {}
        self._overdue: dict[str, _Overdue] = {}
        self._news = asyncio.Event()

    async def next(self, stream_id: str, after: int) -> LogPage | None:
        """The next page with something behind *after*, or of a stream that is over; None when it is gone."""
        future: asyncio.Future[LogPage | None] = asyncio.get_running_loop().create_future()
        self._waiting[future] = (stream_id, after)
        self._news.set()
        try:
            return await future
        finally:
            self._waiting.pop(future, None)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self._news.wait()
            while self._waiting:
                try:
                    await self._round()
                except StoreUnavailableError:
                    # Not a good answer: nobody is declared dead by it.
                    self._overdue.clear()
                await asyncio.sleep(POLL_SECONDS)
            self._news.clear()
            # Nobody looks any more: what was seen so far says nothing of how it is when somebody comes again.
            self._overdue.clear()

    async def _round(self) -> None:
        waiting = list(self._waiting.items())
        wanted = {stream_id for _, (stream_id, _) in waiting}
        self._overdue = {stream_id: seen for stream_id, seen in self._overdue.items() if stream_id in wanted}
        pages = await self._store.read([position for _, position in waiting])
        for (future, (stream_id, _)), page in zip(waiting, pages, strict=True):
            if page is not None and (page.pieces or page.state is not StreamState.RUNNING):
                self._overdue.pop(stream_id, None)
                if not future.done():
                    future.set_result(page)
            elif not self._is_lost(stream_id, page):
                continue
            elif page is not None:
                await self._bury(stream_id)
            elif not future.done():
                future.set_result(None)

    def _is_lost(self, stream_id: str, page: LogPage | None) -> bool:
        """The owner is dead, or the log is gone and no owner brought it back (Redis may have been emptied)."""
        if page is not None and not page.overdue:
            self._overdue.pop(stream_id, None)
            return False
        now = asyncio.get_running_loop().time()
        seen = self._overdue.setdefault(stream_id, _Overdue(now))
        seen.answers += 1
        return seen.answers >= GOOD_ANSWERS and now - seen.since >= self._patience
