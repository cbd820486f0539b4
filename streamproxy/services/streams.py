"""Resumable streams: start one, read it from anywhere, cancel it, and bury what a dead worker left.

A stream is driven by a task of its own on the worker that started it; clients come and go as readers. Whoever
reads on that worker reads the list in memory, everybody else the shared log; both ways end in the same bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from streamproxy.domain.limits import Standing
from streamproxy.domain.ports import Ledger, StreamLog
from streamproxy.domain.streamlog import Ending, Piece, StreamHead, StreamState
from streamproxy.domain.streams import EndReason, UsageRecord
from streamproxy.errors import (
    ConflictError,
    GoneError,
    NotFoundError,
    RateLimitError,
    StoreUnavailableError,
    StreamCancelledError,
    StreamProxyError,
    UpstreamError,
)
from streamproxy.services.chat import ChatService
from streamproxy.services.exchange import Exchange
from streamproxy.services.livestream import LiveStream
from streamproxy.services.order import Interruption, Order
from streamproxy.services.outcome import Outcome
from streamproxy.services.receipts import finished_receipt, running_receipt
from streamproxy.services.recorder import Recorder
from streamproxy.services.tailer import Tailer
from streamproxy.wire import error as wire_error

log = logging.getLogger(__name__)

MOST_READERS = 8
# Who reloads a page is back within this; only then has a stream been left.
LEFT_SECONDS = 5.0
# How long a cancellation waits for the ending, wherever the stream runs.
CANCEL_SECONDS = 4.0
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Source:
    """Where a stream is read: in memory while it runs here, else in the log."""

    head: StreamHead
    live: LiveStream | None


class StreamService:
    """One worker's view of all resumable streams."""

    def __init__(
        self,
        chat: ChatService,
        *,
        store: StreamLog,
        ledger: Ledger,
        owner: str,
        max_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self._chat = chat
        self._store = store
        self._ledger = ledger
        self._max_bytes = max_bytes
        self._clock = clock
        self._recorder = Recorder(store, owner=owner, fenced=self._on_fenced)
        self._tailer = Tailer(store, bury=self._bury)
        self._driving: dict[str, tuple[Exchange, asyncio.Task[None]]] = {}

    async def flush(self) -> None:
        """Write what is not in the log yet, as far as Redis takes it: the worker is about to end."""
        try:
            while any(live.last > live.recorded for live in self._recorder.streams):
                await self._recorder.write()
        except StoreUnavailableError:
            log.warning("the last events of running streams are not in the log: Redis is away")

    async def run(self) -> None:
        """The background work of this worker: recording, tailing, cancelling. Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run())
            group.create_task(self._tailer.run())
            group.create_task(self._obey())

    # -- starting -----------------------------------------------------------------------------------

    async def claimed(self, user_id: str, key: str, stream_id: str) -> str:
        """The stream that this Idempotency-Key stands for: *stream_id* when it is the first."""
        return await self._store.claim(user_id, key, stream_id)

    async def release(self, user_id: str, key: str) -> None:
        """The stream that a key was bound to did not begin: the key is free again."""
        await self._store.release(user_id, key)

    async def start(self, order: Order, *, cancel_when_left: bool) -> LiveStream:
        """Begin to generate; returns once the limits have admitted the request and the log is open.

        StoreUnavailableError while Redis is away: what nobody could resume is no such stream.
        """
        head = StreamHead(
            stream_id=order.stream_id,
            user_id=order.principal.id,
            model=order.request.model,
            created=self._clock(),
            request_id=order.request_id,
            endpoint=order.endpoint,
            session_id=order.session_id,
            # For the day this worker dies: all that a session would need, else what was asked last.
            said=order.request.messages if order.session_id is not None else order.request.messages[-1:],
            cancel_when_left=cancel_when_left,
        )
        live = LiveStream(head, max_bytes=self._max_bytes, changed=self._recorder.changed)
        exchange = self._chat.exchange(order)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # The client may have left before anybody could tell it why the stream does not begin.
        begun.add_done_callback(lambda future: future.cancelled() or future.exception())
        task = asyncio.create_task(self._drive(live, exchange, begun))
        self._driving[order.stream_id] = (exchange, task)
        task.add_done_callback(lambda _: self._driving.pop(order.stream_id, None))
        await asyncio.shield(begun)
        return live

    def standings(self, stream_id: str) -> Sequence[Standing]:
        """Where the limits stood when this stream was admitted here; empty for one that runs elsewhere."""
        driving = self._driving.get(stream_id)
        return () if driving is None else driving[0].standings

    async def _drive(self, live: LiveStream, exchange: Exchange, begun: asyncio.Future[None]) -> None:
        """Run the exchange into the list. Every way out behind the beginning leaves a terminal event."""
        try:
            async with exchange:
                await exchange.reserve()
                await self._recorder.open(live)
                begun.set_result(None)
                await exchange.open()
                async for frames in exchange.frames():
                    live.take(frames)
                live.end(_ending(live, exchange.outcome))
        except StreamCancelledError:
            live.end(_ending(live, exchange.outcome))
        except StreamProxyError as error:
            if not begun.done():
                begun.set_exception(error)
            live.fail(error)
        finally:
            if not begun.done():
                begun.cancel()
            live.fail(UpstreamError("The stream broke off.", code="internal_error"))

    # -- reading ------------------------------------------------------------------------------------

    async def begun(self, stream_id: str, user_id: str) -> Source:
        """The stream that another request with the same Idempotency-Key is just beginning."""
        deadline = asyncio.get_running_loop().time() + CANCEL_SECONDS
        while True:
            try:
                return await self.find(stream_id, user_id)
            except GoneError:
                raise
            except NotFoundError:
                if asyncio.get_running_loop().time() > deadline:
                    raise ConflictError("That request is still beginning; ask again.", retry_after=1) from None
            await asyncio.sleep(POLL_SECONDS)

    async def find(self, stream_id: str, user_id: str) -> Source:
        """The stream, if it is this user's. To everybody else it is as unknown as any: NotFoundError.

        GoneError when it was theirs and has expired.
        """
        live = self._recorder.find(stream_id)
        head = live.head if live is not None else await self._store.head(stream_id)
        if head is None:
            await self._check_gone(stream_id, user_id)
        if head is None or head.user_id != user_id:
            raise NotFoundError("No such stream.", code="stream_not_found")
        return Source(head, live)

    async def _check_gone(self, stream_id: str, user_id: str) -> None:
        """GoneError when this was a stream of this user's that has ended and is no longer held."""
        record = await self._ledger.usage_of(stream_id)
        if record is not None and record.user_id == user_id:
            raise GoneError("The events of this stream are no longer held; its receipt is.", code="stream_expired")

    async def pieces(self, source: Source, after: int) -> AsyncGenerator[Piece, None]:
        """Everything behind *after*, as it comes, the ending last."""
        live = source.live
        if live is not None:
            if live.readers >= MOST_READERS:
                raise RateLimitError("Too many readers of this stream.", code="too_many_readers", retry_after=5)
            live.readers += 1
            try:
                while not live.fenced:
                    await live.news(after)
                    piece = live.piece_after(after)
                    if piece.payloads or piece.ending:
                        after = piece.last
                        yield piece
                    if piece.ending is not None or (live.ending is not None and after >= live.last):
                        return
            finally:
                live.readers -= 1
        async for piece in self._tailed(source.head.stream_id, after):
            yield piece

    async def _tailed(self, stream_id: str, after: int) -> AsyncGenerator[Piece, None]:
        while True:
            page = await self._tailer.next(stream_id, after)
            if page is None:
                # The log is gone under a reader: nobody knows the rest any more.
                yield Piece(after + 1, ending=_lost("stream_expired"))
                return
            for piece in page.pieces:
                news = piece.after(after)
                after = max(after, news.last)
                yield news
                if news.ending is not None:
                    return
            if page.state is not StreamState.RUNNING and page.last <= after:
                # This reader had seen events that the log lost with its owner.
                yield Piece(after + 1, ending=_lost("owner_lost"))
                return

    async def seen_all(self, source: Source, after: int) -> bool:
        """Whether the stream is over and *after* is its terminal event."""
        if source.live is not None:
            return source.live.ending is not None and after >= source.live.last
        page = (await self._store.read([(source.head.stream_id, after)]))[0]
        return page is not None and page.state is not StreamState.RUNNING and page.last <= after

    async def _over(self, source: Source) -> bool:
        """Whether the terminal event is there to be read."""
        if source.live is not None:
            return source.live.ending is not None
        page = (await self._store.read([(source.head.stream_id, 0)]))[0]
        return page is not None and page.state is not StreamState.RUNNING

    # -- ending -------------------------------------------------------------------------------------

    async def cancel(self, stream_id: str, user_id: str) -> bytes:
        """End the stream, wherever it runs, and return its receipt. Again: the same. NotFoundError if not theirs."""
        await self.end(stream_id, user_id)
        live = self._recorder.find(stream_id)
        deadline = asyncio.get_running_loop().time() + CANCEL_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            record = await self._ledger.usage_of(stream_id)
            if record is not None:
                return self._own(record, user_id)
            if live is not None and live.ending is not None and live.head.user_id == user_id:
                return live.ending.payload
            await asyncio.sleep(POLL_SECONDS)
        await self.find(stream_id, user_id)
        raise ConflictError("The stream has not ended yet; ask again.", code="stream_ending", retry_after=1)

    async def end(self, stream_id: str, user_id: str) -> None:
        """End this user's stream: at once if it runs here, else its worker reads the word that is left for it."""
        if not self._cancel_here(stream_id, user_id):
            await self._store.ask_to_cancel(stream_id, user_id)

    def _cancel_here(self, stream_id: str, user_id: str) -> bool:
        for exchange in self._chat.exchanges():
            running = exchange.description
            if running.stream_id == stream_id and running.user_id == user_id:
                exchange.interrupt(Interruption(EndReason.CANCELLED))
                return True
        return False

    async def receipt(self, stream_id: str, user_id: str) -> bytes:
        """What the stream was, as JSON; while it runs, what it is so far.

        Whoever has read the terminal event finds the stream ended here, although its row is written behind that.
        """
        deadline = asyncio.get_running_loop().time() + CANCEL_SECONDS
        while (record := await self._ledger.usage_of(stream_id)) is None:
            source = await self.find(stream_id, user_id)
            driving = self._driving.get(stream_id)
            if driving is not None and (outcome := driving[0].outcome) is not None:
                return finished_receipt(outcome.record())
            if not await self._over(source) or asyncio.get_running_loop().time() > deadline:
                return running_receipt(source.head)
            await asyncio.sleep(POLL_SECONDS)
        return self._own(record, user_id)

    @staticmethod
    def _own(record: UsageRecord, user_id: str) -> bytes:
        if record.user_id != user_id:
            raise NotFoundError("No such stream.", code="stream_not_found")
        return finished_receipt(record)

    def _on_fenced(self, live: LiveStream) -> None:
        driving = self._driving.get(live.head.stream_id)
        if driving is not None:
            error = UpstreamError("The stream was ended elsewhere.", code="owner_lost")
            driving[0].interrupt(Interruption(EndReason.WORKER_LOST, error))

    async def _obey(self) -> None:
        """Cancel what others were asked to cancel and runs here, and what everybody has left. Bury the dead."""
        left: dict[str, float] = {}
        while True:
            await asyncio.sleep(POLL_SECONDS * 2)
            self._cancel_left(left)
            try:
                for stream_id, user_id in await self._store.cancellations():
                    self._cancel_here(stream_id, user_id)
                for stream_id in await self._store.overdue():
                    await self._bury(stream_id)
            except StoreUnavailableError:
                log.debug("cancellations and dead streams wait: Redis is away")

    def _cancel_left(self, left: dict[str, float]) -> None:
        now = asyncio.get_running_loop().time()
        watched = [s for s in self._recorder.streams if s.head.cancel_when_left and not s.over]
        for live in watched:
            if live.readers or live.read_elsewhere_ago < LEFT_SECONDS:
                left.pop(live.head.stream_id, None)
            elif now - left.setdefault(live.head.stream_id, now) >= LEFT_SECONDS:
                self._cancel_here(live.head.stream_id, live.head.user_id)
        for stream_id in left.keys() - {live.head.stream_id for live in watched}:
            del left[stream_id]

    async def _bury(self, stream_id: str) -> None:
        """End a dead worker's stream in the log; whoever does it also settles what the worker left."""
        head = await self._store.head(stream_id)
        if await self._store.reap(stream_id, _lost("owner_lost")) and head is not None:
            log.warning("stream %s: its worker is gone", stream_id)
            payloads = await self._logged(stream_id)
            await self._chat.settle_lost(head, payloads)

    async def _logged(self, stream_id: str) -> list[bytes]:
        payloads: list[bytes] = []
        while True:
            page = (await self._store.read([(stream_id, len(payloads))]))[0]
            if page is None or not page.pieces:
                return payloads
            for piece in page.pieces:
                payloads += piece.payloads
                if piece.ending is not None:
                    return payloads


def _ending(live: LiveStream, outcome: Outcome | None) -> Ending:
    if live.error:
        return Ending(StreamState.FAILED, live.error)
    return Ending(StreamState.DONE, b"{}" if outcome is None else finished_receipt(outcome.record()))


def _lost(code: str) -> Ending:
    return Ending(StreamState.FAILED, wire_error.encode(UpstreamError("The stream broke off.", code=code)))
