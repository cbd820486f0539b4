"""What the books get of one exchange: when each step of it was, what it cost, its row in the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from streamproxy.domain.streams import EndReason, Timing, Usage, UsageRecord
from streamproxy.domain.tracing import usage_attributes
from streamproxy.errors import StreamProxyError
from streamproxy.services.failover import Attempts
from streamproxy.services.order import Order
from streamproxy.services.outcome import Outcome
from streamproxy.services.parts import Parts
from streamproxy.wire.chat import Reading

log = logging.getLogger(__name__)


class Bookkeeping:
    """Begins when it is made.

    Whoever knows them notes the times, in epoch seconds: *asked* was the upstream, *heard* was its answer's beginning.
    *settling_seconds* is how long it took to give back what was held.
    """

    def __init__(self, parts: Parts, order: Order, attempts: Attempts) -> None:
        self.began = parts.clock()
        self._parts = parts
        self._order = order
        self._attempts = attempts
        self.asked: float | None = None
        self.heard: float | None = None
        self.settling_seconds = 0.0

    def record(
        self,
        reason: EndReason,
        usage: Usage,
        said: Reading | None,
        error: BaseException | None,
        *,
        ended: float,
        answered: bool,
        images: int,
    ) -> UsageRecord:
        """The row of an exchange that *ended* then, in epoch seconds. *answered*: a key of ours was accepted."""
        order, candidate, began = self._order, self._attempts.candidate, self.began
        # The caller's own key was paid by the caller.
        free = order.own_key is not None
        return UsageRecord(
            stream_id=order.stream_id,
            request_id=order.request_id,
            user_id=order.principal.id,
            session_id=order.session_id,
            endpoint=order.endpoint,
            model=order.request.model,
            upstream=candidate.upstream.name if candidate is not None else "",
            key_last4=candidate.key.last4 if candidate is not None and not free else "",
            created=began,
            ttft_ms=None if self.heard is None else int((self.heard - began) * 1000),
            duration_ms=int((ended - began) * 1000),
            chunks=0 if said is None else said.chunks,
            attempts=self._attempts.number,
            usage=usage,
            end_reason=reason,
            error_code=None if error is None else _error_code(error),
            images=images,
            key_id=candidate.key.id if candidate is not None and answered else "",
            cost_nano_usd=0 if free else self._parts.prices.cost(order.request.model, usage, pictures=images),
        )

    def end_spans(self, record: UsageRecord) -> None:
        """The spans of the request and of its last call end with what stands in the row."""
        attributes = usage_attributes(record.usage)
        self._attempts.span.end(attributes, error=record.error_code)
        ending = {**attributes, "streamproxy.end_reason": str(record.end_reason)}
        self._order.trace.end(ending, error=record.error_code)

    def enter(self, outcome: Outcome, tell: Callable[[Exception | None], None]) -> None:
        """Usage and history into the ledger; *tell* is called when it has them, or with what refused them."""
        record = outcome.record
        before = None if self.asked is None else self.asked - self.began
        self._parts.watch.ended(record, Timing(self._order.request.stream, before, self.settling_seconds))
        try:
            self._parts.ledger.enter(record, outcome.history(), tell)
        except StreamProxyError as refusal:
            tell(refusal)


def not_written(record: UsageRecord) -> None:
    """Into the log, so that it can be entered later; the store has told why."""
    log.error("usage not written: %s", msgspec.json.encode(record).decode())


def _error_code(error: BaseException) -> str | None:
    if isinstance(error, StreamProxyError):
        return error.code
    return "internal_error" if isinstance(error, Exception) else None
