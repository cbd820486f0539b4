"""What the books get of one exchange: when each step of it was, what it cost, its row in the ledger."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from streamproxy.domain.streams import EndReason, Timing, Usage, UsageRecord
from streamproxy.errors import StreamProxyError
from streamproxy.services.failover import Attempts
from streamproxy.services.order import Order
from streamproxy.services.outcome import Outcome
from streamproxy.services.parts import Parts
from streamproxy.wire.chat import Transcript

log = logging.getLogger(__name__)


class Bookkeeping:
    """Begins when it is made."""

    def __init__(self, parts: Parts, order: Order, attempts: Attempts) -> None:
        self.began = parts.clock()
        self._parts = parts
        self._order = order
        self._attempts = attempts
        self._asked_at: float | None = None
        self._first_event_at: float | None = None
        self._settling_seconds = 0.0

    def asked(self) -> None:
        """Now the upstream is asked."""
        self._asked_at = self._parts.clock()

    def heard(self) -> None:
        """Now it has answered, or begun to."""
        self._first_event_at = self._parts.clock()

    def settled(self, since: float) -> None:
        """What was held is given back; that took from *since*, in epoch seconds, to now."""
        self._settling_seconds = self._parts.clock() - since

    def record(
        self,
        reason: EndReason,
        usage: Usage,
        transcript: Transcript | None,
        error: BaseException | None,
        *,
        answered: bool,
        images: int,
    ) -> UsageRecord:
        """The row of an exchange that ends now. *answered*: a key of ours was accepted."""
        order, candidate, clock = self._order, self._attempts.candidate, self._parts.clock
        ttft = None if self._first_event_at is None else int((self._first_event_at - self.began) * 1000)
        return UsageRecord(
            stream_id=order.stream_id,
            request_id=order.request_id,
            user_id=order.principal.id,
            session_id=order.session_id,
            endpoint=order.endpoint,
            model=order.request.model,
            upstream=candidate.upstream.name if candidate is not None else "",
            key_last4=candidate.key.last4 if candidate is not None and order.own_key is None else "",
            created=self.began,
            ttft_ms=ttft,
            duration_ms=int((clock() - self.began) * 1000),
            chunks=transcript.chunks if transcript is not None else 0,
            attempts=self._attempts.number,
            usage=usage,
            end_reason=reason,
            error_code=None if error is None else _error_code(error),
            images=images,
            key_id=candidate.key.id if candidate is not None and answered else "",
            cost_nano_usd=self._cost(usage, images),
        )

    def _cost(self, usage: Usage, images: int) -> int:
        """Nano-USD; nothing where the caller's own key paid."""
        order = self._order
        if order.own_key is not None:
            return 0
        return self._parts.prices.cost(order.request.model, usage, pictures=images)

    def enter(self, outcome: Outcome) -> asyncio.Future[None] | None:
        """Usage and history into the ledger; done when they are written. None when it takes nothing more."""
        record = outcome.record
        before = None if self._asked_at is None else self._asked_at - self.began
        self._parts.watch.ended(record, Timing(self._order.request.stream, before, self._settling_seconds))
        try:
            return self._parts.ledger.enter(record, outcome.history())
        except StreamProxyError:
            not_written(record)
            return None


def not_written(record: UsageRecord) -> None:
    """Into the log, so that it can be entered later; the store has told why."""
    log.error("usage not written: %s", msgspec.json.encode(record).decode())


def _error_code(error: BaseException) -> str | None:
    if isinstance(error, StreamProxyError):
        return error.code
    return "internal_error" if isinstance(error, Exception) else None
