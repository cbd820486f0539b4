"""Drives the resumable streams of this worker: a task of its own for each, whoever comes and goes as its reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from streamproxy.domain.limits import Standing
from streamproxy.domain.ports import StreamLog
from streamproxy.domain.streamlog import Ending, StreamHead, StreamState
from streamproxy.domain.streams import EndReason
from streamproxy.errors import StreamCancelledError, StreamProxyError, UpstreamError
from streamproxy.services.chat import ChatService
from streamproxy.services.exchange import Exchange
from streamproxy.services.livestream import LiveStream
from streamproxy.services.order import Interruption, Order
from streamproxy.services.outcome import Outcome
from streamproxy.services.receipts import finished_receipt
from streamproxy.services.recorder import Recorder


class Driver:
    """Every stream that begins here ends here with exactly one terminal event, unless the worker dies.

    *recorder* copies them to the shared log; *clock* gives epoch seconds.
    """

    def __init__(
        self,
        chat: ChatService,
        *,
        store: StreamLog,
        owner: str,
        max_bytes: int,
        renew_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.recorder = Recorder(store, owner=owner, fenced=self._on_fenced, renew_seconds=renew_seconds)
        self._chat = chat
        self._max_bytes = max_bytes
        self._clock = clock
        self._driving: dict[str, tuple[Exchange, asyncio.Task[None]]] = {}

    async def start(self, order: Order, *, cancel_when_left: bool) -> LiveStream:
        """Begin to generate; returns once the limits have admitted the request and the log is open.

        StoreUnavailableError while Redis is away: what nobody could resume is no such stream.
        """
        live = LiveStream(
            self._head(order, cancel_when_left=cancel_when_left),
            max_bytes=self._max_bytes,
            changed=self.recorder.changed,
        )
        exchange = self._chat.exchange(order)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # The client may have left before anybody could tell it why the stream does not begin.
        begun.add_done_callback(lambda future: future.cancelled() or future.exception())
        task = asyncio.create_task(self._drive(live, exchange, begun))
        self._driving[order.stream_id] = (exchange, task)
        task.add_done_callback(lambda _: self._driving.pop(order.stream_id, None))
        await asyncio.shield(begun)
        return live

    def outcome(self, stream_id: str) -> Outcome | None:
        """How a stream ended here whose usage is just being written."""
        driving = self._driving.get(stream_id)
        return driving[0].outcome if driving is not None else None

    def standings(self, stream_id: str) -> Sequence[Standing]:
        """Where the limits stood when this stream was admitted; empty for one that does not run here."""
        driving = self._driving.get(stream_id)
        return () if driving is None else driving[0].standings

    def _head(self, order: Order, *, cancel_when_left: bool) -> StreamHead:
        return StreamHead(
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

    async def _drive(self, live: LiveStream, exchange: Exchange, begun: asyncio.Future[None]) -> None:
        """Run the exchange into the list. Every way out behind the beginning leaves a terminal event."""
        try:
            async with exchange:
                await exchange.reserve()
                await self.recorder.open(live)
                exchange.promise_receipt()
                begun.set_result(None)
                await exchange.open()
                await exchange.send_to(_Intake(live, exchange))
            # Behind the exchange's end: whoever has read the terminal event finds the receipt, on any worker.
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

    def _on_fenced(self, live: LiveStream) -> None:
        driving = self._driving.get(live.head.stream_id)
        if driving is not None:
            error = UpstreamError("The stream was ended elsewhere.", code="owner_lost")
            driving[0].interrupt(Interruption(EndReason.WORKER_LOST, error))


class _Intake:
    """Takes an answer into its stream's list, within the callback that brings it. Nobody is ever behind here."""

    def __init__(self, live: LiveStream, exchange: Exchange) -> None:
        self._live = live
        self._exchange = exchange

    def write(self, frames: bytes) -> None:
        try:
            self._live.take(frames)
        except UpstreamError as outgrown:
            self._exchange.interrupt(Interruption(EndReason.UPSTREAM_ERROR, outgrown))

    async def send(self, frames: bytes) -> None:
        self.write(frames)

    def writer(self, written: object) -> Callable[[bytes], None]:  # noqa: ARG002 - there is no silence to be filled
        return self.write


def _ending(live: LiveStream, outcome: Outcome | None) -> Ending:
    if live.error:
        return Ending(StreamState.FAILED, live.error)
    return Ending(StreamState.DONE, b"{}" if outcome is None else finished_receipt(outcome.record))
