"""Resumable streams: start one, read it from anywhere, cancel it.

A stream is driven by a task of its own on the worker that started it; clients come and go as readers. Whoever
reads on that worker reads the list in memory, everybody else the shared log; both ways end in the same bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager

from streamproxy.domain.limits import Standing
from streamproxy.domain.ports import Ledger, StreamLog
from streamproxy.domain.streamlog import Piece
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.cancellation import Cancellation
from streamproxy.services.chat import ChatService
from streamproxy.services.claims import Claims
from streamproxy.services.driver import Driver
from streamproxy.services.janitor import Janitor
from streamproxy.services.livestream import LiveStream
from streamproxy.services.order import Order
from streamproxy.services.readers import Readers
from streamproxy.services.receipts import finished_receipt, running_receipt
from streamproxy.services.sources import Source, Sources
from streamproxy.services.tailer import Tailer

log = logging.getLogger(__name__)

# How long a receipt waits for the row of a stream that is over.
SETTLE_SECONDS = 8.0
POLL_SECONDS = 0.1


class StreamService:
    """One worker's view of all resumable streams.

    *lease_seconds*: a worker that is silent for so long is dead. *owner* names this one among all, *clock* gives
    epoch seconds.
    """

    def __init__(
        self,
        chat: ChatService,
        *,
        store: StreamLog,
        ledger: Ledger,
        owner: str,
        max_bytes: int,
        lease_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._driver = Driver(
            chat, store=store, owner=owner, max_bytes=max_bytes, renew_seconds=lease_seconds / 3, clock=clock
        )
        recorder = self._recorder = self._driver.recorder
        self._janitor = Janitor(chat, store=store, ledger=ledger)
        # A living owner would have renewed its lease once more in half of its time.
        self._tailer = Tailer(store, bury=self._janitor.bury, patience_seconds=lease_seconds / 2)
        self._readers = Readers(self._tailer)
        self._sources = Sources(recorder=recorder, store=store, ledger=ledger)
        self.claims = Claims(store=store, sources=self._sources)
        self._cancellation = Cancellation(
            chat, store=store, ledger=ledger, sources=self._sources, live=lambda: recorder.streams
        )

    async def run(self) -> None:
        """The background work of this worker. Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for work in (self._recorder.run(), self._tailer.run(), self._cancellation.obey(), self._janitor.look()):
                group.create_task(work)

    async def flush(self) -> None:
        """Write what is not in the log yet, as far as Redis takes it: the worker is about to end."""
        try:
            await self._recorder.flush()
        except StoreUnavailableError:
            log.warning("the last events of running streams are not in the log: Redis is away")

    async def start(self, order: Order, *, cancel_when_left: bool) -> LiveStream:
        """Begin to generate. StoreUnavailableError while Redis is away."""
        return await self._driver.start(order, cancel_when_left=cancel_when_left)

    def standings(self, stream_id: str) -> Sequence[Standing]:
        """Where the limits stood when this stream was admitted here; empty for one that runs elsewhere."""
        return self._driver.standings(stream_id)

    async def find(self, stream_id: str, user_id: str) -> Source:
        """The stream, if it is this user's: NotFoundError otherwise, GoneError when it is no longer held."""
        return await self._sources.find(stream_id, user_id)

    async def is_over(self, source: Source) -> bool:
        """Whether the stream has ended."""
        return await self._sources.is_over(source)

    async def seen_all(self, source: Source, after: int) -> bool:
        """Whether the stream is over and *after* is its terminal event; GoneError when what followed is lost."""
        return await self._sources.seen_all(source, after)

    def place(self, source: Source) -> AbstractContextManager[None]:
        """A reader's place. RateLimitError when there is none."""
        return self._readers.place(source)

    def pieces(self, source: Source, after: int) -> AsyncGenerator[Piece, None]:
        """Everything behind *after*, as it comes, the ending last; see ``Readers``."""
        return self._readers.pieces(source, after)

    async def cancel(self, stream_id: str, user_id: str) -> bytes:
        """End the stream, wherever it runs, and return its receipt. Again: the same. NotFoundError if not theirs."""
        return finished_receipt(await self._cancellation.cancel(stream_id, user_id))

    async def end(self, stream_id: str, user_id: str) -> None:
        """End the stream, wherever it runs, without waiting for that."""
        await self._cancellation.end(stream_id, user_id)

    async def receipt(self, stream_id: str, user_id: str) -> bytes:
        """What the stream was, as JSON; while it runs, what it is so far.

        Whoever has read the terminal event finds the stream ended here, although its row is written behind that.
        """
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            record = await self._ledger.usage_of(stream_id)
            if record is not None and record.user_id == user_id:
                return finished_receipt(record)
            source = await self._sources.find(stream_id, user_id)
            outcome = self._driver.outcome(stream_id)
            if outcome is not None:
                return finished_receipt(outcome.record)
            over = await self._sources.is_over(source)
            if not over or asyncio.get_running_loop().time() > deadline:
                return running_receipt(source.head, state="ending" if over else "running")
            await asyncio.sleep(POLL_SECONDS)
