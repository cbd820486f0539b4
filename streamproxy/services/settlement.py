"""What is put in order when a stream has ended: limits, session, usage, history."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from streamproxy.domain.limits import Reservation
from streamproxy.domain.ports import Ledger, SessionStore
from streamproxy.domain.sessions import SYSTEM_ROLES, Message, SessionRef, Turn
from streamproxy.domain.streams import EndReason, HistoryMessage, Usage, UsageRecord
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.admission import Admission
from streamproxy.services.calls import Calls
from streamproxy.services.leases import LeaseKeeper
from streamproxy.services.order import Order, Running
from streamproxy.services.prompt import Prompt, Prompts
from streamproxy.wire.chat import ChatRequest, Transcript

log = logging.getLogger(__name__)


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
        )

    def history(self) -> list[HistoryMessage]:
        """What was said in this turn: the system message it set, the new messages, the answer."""
        answer = self.answer
        if self.prompt is None or answer is None:
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


class Services:
    """What every exchange uses, and the settling that they share. *observe* is told of every recorded stream."""

    def __init__(
        self,
        *,
        admission: Admission,
        leases: LeaseKeeper,
        prompts: Prompts,
        calls: Calls,
        sessions: SessionStore,
        ledger: Ledger,
        reply_reserve: int,
        clock: Callable[[], float],
        observe: Callable[[UsageRecord], None],
    ) -> None:
        self.admission = admission
        self.leases = leases
        self.prompts = prompts
        self.calls = calls
        self.reply_reserve = reply_reserve
        self.clock = clock
        self.running = Running()
        self._sessions = sessions
        self._ledger = ledger
        self._observe = observe

    async def usage(self, request: ChatRequest, prompt: Prompt | None, transcript: Transcript | None) -> Usage:
        """As the upstream reported it, else counted and flagged. Nothing was used where nothing was answered."""
        if prompt is None or transcript is None:
            return Usage()
        reported = transcript.usage
        if reported is not None:
            return Usage(reported.prompt_tokens, reported.completion_tokens, reported.cached_tokens)
        said = transcript.message() or {}
        return Usage(
            prompt_tokens=await self.prompts.tokens(request, prompt),
            completion_tokens=await self.prompts.answer_tokens(request.model, _all_text(said)),
            estimated=True,
        )

    async def settle_limits(self, reservation: Reservation | None, usage: Usage, *, refund: bool) -> None:
        if refund:
            await self.admission.refund(reservation)
        else:
            await self.admission.settle(reservation, tokens=usage.total_tokens)

    async def settle_session(self, outcome: Outcome, session: SessionRef | None) -> None:
        """Append the turn if something was said, and let the next one in. *session* is None where there is none."""
        if session is None:
            return
        answer = outcome.answer
        try:
            if answer is None or outcome.prompt is None:
                await self._sessions.leave(session, outcome.order.stream_id)
                return
            messages = (*outcome.prompt.said, answer)
            tokens = await self.prompts.turn_tokens(outcome.order.request.model, messages)
            turn = Turn(outcome.order.stream_id, messages, tokens)
            await self._sessions.append(session, turn, outcome.prompt.system)
        except StoreUnavailableError:
            log.warning("a turn is not in its session: Redis is away; it is in the history")

    async def record(self, outcome: Outcome) -> None:
        """Write usage and history. What SQL refuses is in the log, so that it can be entered later."""
        record = outcome.record()
        self._observe(record)
        try:
            await self._ledger.write(record, outcome.history())
        except StoreUnavailableError:
            log.error("usage not written: %s", msgspec.json.encode(record).decode())  # noqa: TRY400  # no traceback: the store logged its own


def _all_text(message: Message) -> str:
    parts = [message.get("content"), message.get("refusal"), *(c["function"] for c in message.get("tool_calls") or ())]
    return "".join(p if isinstance(p, str) else f"{p.get('name')}{p.get('arguments')}" for p in parts if p)
