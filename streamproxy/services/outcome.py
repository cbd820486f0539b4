"""A stream as it ended, and what of it lasts: the row in the ledger, the messages in the history."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from streamproxy.domain.sessions import SYSTEM_ROLES, Message
from streamproxy.domain.streams import EndReason, HistoryMessage, Usage, UsageRecord
from streamproxy.services.order import Order
from streamproxy.services.prompt import Prompt
from streamproxy.wire.chat import Transcript


@dataclass(frozen=True, slots=True)
class Outcome:
    """A stream as it ended. *prompt* is None when it ended before there was one; times as in UsageRecord."""

    order: Order
    prompt: Prompt | None
    transcript: Transcript | None
    usage: Usage
    reason: EndReason
    error_code: str | None
    created: float
    duration_ms: int
    ttft_ms: int | None
    attempts: int
    upstream: str
    key_last4: str
    key_id: str = ""
    cost_nano_usd: int = 0
    images: int = 0

    def record(self) -> UsageRecord:
        order = self.order
        return UsageRecord(
            stream_id=order.stream_id,
            request_id=order.request_id,
            user_id=order.principal.id,
            session_id=order.session_id,
            endpoint=order.endpoint,
            model=order.request.model,
            upstream=self.upstream,
            key_last4=self.key_last4,
            created=self.created,
            ttft_ms=self.ttft_ms,
            duration_ms=self.duration_ms,
            chunks=self.transcript.chunks if self.transcript is not None else 0,
            attempts=self.attempts,
            usage=self.usage,
            end_reason=self.reason,
            error_code=self.error_code,
            images=self.images,
            key_id=self.key_id,
            cost_nano_usd=self.cost_nano_usd,
        )

    def history(self) -> list[HistoryMessage]:
        """What was said in this turn: the system message it set, the new messages, the answer."""
        answer = self.answer
        if self.prompt is None or answer is None or not self.order.lasting:
            return []
        own_system = [m for m in self.order.request.messages if m.get("role") in SYSTEM_ROLES]
        said = [*own_system[:1], *self.prompt.said] if self.order.session_id is not None else [*self.prompt.said]
        complete = self.reason is EndReason.FINISH
        rows = [(message, True) for message in said] + [(answer, complete)]
        return [
            HistoryMessage(
                user_id=self.order.principal.id,
                session_id=self.order.session_id,
                stream_id=self.order.stream_id,
                position=position,
                role=str(message.get("role")),
                message=msgspec.json.encode(message).decode(),
                created=self.created + self.duration_ms / 1000,
                complete=finished,
            )
            for position, (message, finished) in enumerate(rows)
        ]

    @property
    def answer(self) -> Message | None:
        """The assistant's message, None when nothing was said."""
        return self.transcript.message() if self.transcript is not None else None
