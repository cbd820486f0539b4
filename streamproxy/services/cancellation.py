"""Ends streams before their upstreams do: because their user says so, on any worker, or because everybody has left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from streamproxy.domain.ports import Ledger, StreamLog
from streamproxy.domain.streams import EndReason, UsageRecord
from streamproxy.errors import ConflictError, NotFoundError, StoreUnavailableError
from streamproxy.services.chat import ChatService
from streamproxy.services.livestream import LiveStream
from streamproxy.services.order import Interruptible, Interruption
from streamproxy.services.sources import Sources

log = logging.getLogger(__name__)

# Who reloads a page is back within this; only then has a stream been left.
LEFT_SECONDS = 5.0
# How often a worker looks for what it was asked to cancel.
OBEY_SECONDS = 0.4
# How long a stream that is known gets to end, wherever it runs …
END_SECONDS = 4.0
# … and how long one that nobody here knows: it may be a plain one elsewhere, of which Redis knows nothing. Unknown
# and foreign ids take all of it.
UNKNOWN_SECONDS = 2.0
POLL_SECONDS = 0.1


class Cancellation:
    """One worker's part in ending streams. *live* gives the resumable ones that run here."""

    def __init__(
        self,
        chat: ChatService,
        *,
        store: StreamLog,
        ledger: Ledger,
        sources: Sources,
        live: Callable[[], list[LiveStream]],
    ) -> None:
        self._chat = chat
        self._store = store
        self._ledger = ledger
        self._sources = sources
        self._live = live
        self._left: dict[str, float] = {}

    async def cancel(self, stream_id: str, user_id: str) -> UsageRecord:
        """End the stream, wherever it runs, and return what it was. Again: the same.

        NotFoundError if it is not theirs, ConflictError when it does not end in time.
        """
        record = await self._record(stream_id, user_id)
        if record is None:
            known = await self._end(stream_id, user_id)
            record = await self._ended(stream_id, user_id, seconds=END_SECONDS if known else UNKNOWN_SECONDS)
            if record is None and known:
                raise ConflictError("The stream has not ended yet; ask again.", code="stream_ending", retry_after=1)
        if record is None:
            raise NotFoundError("No such stream.", code="stream_not_found")
        return record

    async def end(self, stream_id: str, user_id: str) -> None:
        """End this user's stream: at once if it runs here, else its worker reads the word that is left for it."""
        exchange = self._running(stream_id, user_id)
        if exchange is not None:
            exchange.interrupt(Interruption(EndReason.CANCELLED))
        else:
            await self._store.ask_to_cancel(stream_id, user_id)

    async def _end(self, stream_id: str, user_id: str) -> bool:
        """End it; True when it is known to be theirs. Where it runs here this waits until it is settled."""
        exchange = self._running(stream_id, user_id)
        await self.end(stream_id, user_id)
        if exchange is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await self._chat.gone(exchange)
            return True
        try:
            await self._sources.find(stream_id, user_id)
        except NotFoundError:
            return False
        return True

    async def _ended(self, stream_id: str, user_id: str, *, seconds: float) -> UsageRecord | None:
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            record = await self._record(stream_id, user_id)
            if record is not None or asyncio.get_running_loop().time() > deadline:
                return record
            await asyncio.sleep(POLL_SECONDS)

    async def _record(self, stream_id: str, user_id: str) -> UsageRecord | None:
        record = await self._ledger.usage_of(stream_id)
        return record if record is not None and record.user_id == user_id else None

    def _running(self, stream_id: str, user_id: str) -> Interruptible | None:
        for exchange in self._chat.exchanges():
            running = exchange.description
            if running.stream_id == stream_id and running.user_id == user_id:
                return exchange
        return None

    async def obey(self) -> None:
        """Cancel what others were asked to cancel and runs here, and what everybody has left. Until cancelled."""
        while True:
            await asyncio.sleep(OBEY_SECONDS)
            self._cancel_left()
            try:
                asked = await self._store.cancellations()
            except StoreUnavailableError:
                log.debug("cancellations wait: Redis is away")
                continue
            for stream_id, user_id in asked:
                exchange = self._running(stream_id, user_id)
                if exchange is not None:
                    exchange.interrupt(Interruption(EndReason.CANCELLED))

    def _cancel_left(self) -> None:
        now = asyncio.get_running_loop().time()
        watched = [s for s in self._live() if s.head.cancel_when_left and not s.over]
        left = self._left
        for live in watched:
            head = live.head
            if live.readers or live.read_elsewhere_ago < LEFT_SECONDS:
                left.pop(head.stream_id, None)
            elif now - left.setdefault(head.stream_id, now) >= LEFT_SECONDS:
                exchange = self._running(head.stream_id, head.user_id)
                if exchange is not None:
                    exchange.interrupt(Interruption(EndReason.CANCELLED))
        for stream_id in left.keys() - {live.head.stream_id for live in watched}:
            del left[stream_id]
