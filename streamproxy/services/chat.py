"""The verb the handlers use: chat. Everything about one request happens in the Exchange it returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from streamproxy.domain.limits import Ask
from streamproxy.domain.streamlog import StreamHead
from streamproxy.domain.streams import EndReason
from streamproxy.errors import UpstreamError
from streamproxy.randomness import timed_token
from streamproxy.services.exchange import Exchange
from streamproxy.services.lost import settle_lost
from streamproxy.services.order import Interruptible, Interruption, Order
from streamproxy.services.parts import Parts


def new_stream_id() -> str:
    """Never reused; 80 of its bits are random. By time, for it is what the ledger's rows are found by."""
    return f"st_{timed_token(time.time_ns() // 1_000_000)}"


class ChatService:
    """Opens exchanges, and ends them when the worker has to stop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # One request's way; use it as ``async with``.
        self.exchange: Callable[[Order], Exchange] = partial(Exchange, parts)

    def exchanges(self) -> Iterator[Interruptible]:
        """Those under way on this worker."""
        return iter(self._parts.running)

    async def gone(self, exchange: Interruptible) -> None:
        """Return when *exchange* is settled and recorded."""
        await self._parts.running.gone(exchange)

    async def settle_lost(self, head: StreamHead, payloads: Sequence[bytes]) -> None:
        """Settle what a dead worker left of a stream."""
        await settle_lost(self._parts, head, payloads)

    async def count(self, ask: Ask) -> None:
        """Count something that is no exchange. RateLimitError when it is too much."""
        admitted = await self._parts.admission.reserve(ask, at_least=0)
        if admitted.refusal is not None:
            raise admitted.refusal
        if admitted.reservation is not None and admitted.reservation.local:
            # It holds nothing, and this worker's memory would keep it.
            await self._parts.admission.settle(admitted.reservation, tokens=0)

    @property
    def running(self) -> int:
        return len(self._parts.running)

    def stop_all(self) -> None:
        """End every running exchange with an error that says why."""
        error = UpstreamError("The server is restarting; please ask again.", code="server_shutdown")
        self._parts.running.interrupt_all(Interruption(EndReason.UPSTREAM_ERROR, error))

    async def wait_until_idle(self) -> None:
        """Return when no exchange runs any more, settled and recorded."""
        await self._parts.running.idle()
