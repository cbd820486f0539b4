"""One request from its admission to its settlement.

``async with exchange`` is the one exit of every stream: however it ends, what was held is given back, what
was said is kept, and the ledger gets its row. Use::

    async with exchange:
        await exchange.open()                       # statuses are still possible
        async for frames in exchange.frames():      # ends with exactly one [DONE]
            ...

What others rely on at the end (limits, session) is settled before the last frames leave, so that a client
which has seen ``[DONE]`` finds its place free and its answer in the context. The ledger is awaited after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from types import TracebackType
from typing import Any, Self

from streamproxy.domain.limits import Reservation, Standing
from streamproxy.domain.sessions import SessionRef
from streamproxy.domain.streams import EndReason, Usage
from streamproxy.errors import RateLimitError, StreamProxyError, UpstreamError, UpstreamTimeoutError
from streamproxy.services.budget import AnswerBudget
from streamproxy.services.calls import Answer, WholeAnswer
from streamproxy.services.deadlines import Deadlines
from streamproxy.services.order import Interruption, Order
from streamproxy.services.prompt import Prompt
from streamproxy.services.relay import Identity
from streamproxy.services.settlement import Outcome, Services
from streamproxy.wire.chat import Transcript

log = logging.getLogger(__name__)


class Exchange:
    """See the module. Not to be entered twice."""

    def __init__(self, services: Services, order: Order) -> None:
        self.order = order
        self.standings: tuple[Standing, ...] = ()
        self.prompt: Prompt | None = None
        self.outcome: Outcome | None = None
        self._services = services
        self._started = services.clock()
        self._first_event_at: float | None = None
        self._reservation: Reservation | None = None
        self._session = SessionRef(order.principal.id, order.session_id) if order.session_id is not None else None
        self._entered = False
        self._asked_upstream = False
        self._answer: Answer | None = None
        self._whole: WholeAnswer | None = None
        self._deadlines: Deadlines | None = None
        self._interruption: Interruption | None = None
        self._opening: asyncio.Task[Any] | None = None
        self._settling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._services.running.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._conclude(self._reason_for(error), error)
            if self.outcome is not None and self._asked_upstream:
                await _to_the_end(self._services.record(self.outcome))
        finally:
            self._services.running.discard(self)

    # -- opening ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Steps 4 to 7: limits, session, key, upstream. Returns when there is something to send."""
        self._opening = asyncio.current_task()
        try:
            await self._open()
        except asyncio.CancelledError:
            if self._interruption is None or self._interruption.error is None or self._opening is None:
                raise
            self._opening.uncancel()
            raise self._interruption.error from None
        finally:
            self._opening = None

    async def _open(self) -> None:
        services, order = self._services, self.order
        services.calls.check_model(order.request.model)
        await self._reserve()
        self.prompt = await self._make_prompt()
        await self._reserve_context(self.prompt)
        self._asked_upstream = True
        trace = order.trace
        if order.request.stream:
            identity = Identity(f"chatcmpl-{order.stream_id}", order.request.model, int(self._started))
            self._answer = await services.calls.stream(order.request, self.prompt, identity=identity, trace=trace)
            self._deadlines = Deadlines(services.calls.timeouts, self._out_of_time)
        else:
            self._whole = await services.calls.whole(order.request, self.prompt, trace=trace)
        self._first_event_at = services.clock()

    async def _reserve(self) -> None:
        services, order = self._services, self.order
        tokens = prompt_tokens = 0
        if services.admission.policy.tokens:
            prompt_tokens = await services.prompts.tokens(order.request, services.prompts.stateless(order.request))
            tokens = prompt_tokens + self._reply_reserve()
        at_least = tokens if order.request.reply_tokens else prompt_tokens + 1
        admitted = await services.admission.reserve(order.principal, order.request_id, tokens=tokens, at_least=at_least)
        self.standings = admitted.standings
        if admitted.refusal is not None:
            raise admitted.refusal
        self._reservation = admitted.reservation
        services.leases.hold_place(order.stream_id, self._reservation)

    def _reply_reserve(self) -> int:
        return self.order.request.reply_tokens or self._services.reply_reserve

    async def _make_prompt(self) -> Prompt:
        services, order = self._services, self.order
        if self._session is None:
            return services.prompts.stateless(order.request)
        # From here on the turn may be queued or hold the session: whatever happens, it has to be left.
        self._entered = True
        prompt = await services.prompts.in_session(order.request, self._session, order.stream_id)
        services.leases.hold_turn(order.stream_id, self._session)
        return prompt

    async def _reserve_context(self, prompt: Prompt) -> None:
        """The context came on top of what the request itself brought: it costs tokens too."""
        if self._reservation is None or not self._services.admission.policy.tokens or prompt.tokens is None:
            return
        missing = prompt.tokens + 1 - self._reservation.ask.tokens
        if missing > 0 and not await self._extend(missing):
            raise RateLimitError("The session's context does not fit into this token window.", retry_after=1)

    async def _extend(self, tokens: int) -> bool:
        if self._reservation is None:
            return True
        extended = await self._services.admission.extend(self._reservation, tokens)
        self._reservation = extended or self._reservation
        return extended is not None

    # -- answering ----------------------------------------------------------------------------------

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The answer as whole events, the ending included. Raises nothing of the upstream's."""
        if self._answer is None:
            raise RuntimeError("frames() before a successful open()")
        answer, relay = self._answer, self._answer.relay
        budget = await self._budget()
        try:
            frames = answer.frames
            while True:
                if budget is not None:
                    frames = await self._within(budget, frames)
                if frames:
                    yield frames
                if relay.ended or relay.failure or self._interruption:
                    break
                frames = await self._next_frames(answer)
        except UpstreamError as error:
            relay.failure = error
        yield await self._last_frames(answer)

    async def _within(self, budget: AnswerBudget, frames: bytes) -> bytes:
        allowed = await budget.cut(frames)
        if budget.spent and self._answer is not None:
            # Kept and counted is what the client got, not what the upstream had already said.
            self._answer.relay.transcript = budget.delivered
            self._interruption = Interruption(EndReason.BUDGET)
        return allowed

    async def _next_frames(self, answer: Answer) -> bytes:
        batch = await answer.reply.batch()
        if not batch:
            answer.relay.finish_input()
            return b""
        frames = answer.relay.feed(batch)
        if frames and self._deadlines is not None:
            self._deadlines.touch()
        return frames

    async def _last_frames(self, answer: Answer) -> bytes:
        interruption = self._interruption
        error = interruption.error if interruption is not None else answer.relay.failure
        if error is not None:
            await self._conclude(interruption.reason if interruption else EndReason.UPSTREAM_ERROR, error)
            return answer.relay.failing(error)
        await self._conclude(interruption.reason if interruption else EndReason.FINISH)
        usage = self.usage
        if interruption is not None:
            finish = "length" if interruption.reason is EndReason.BUDGET else "stop"
            return answer.relay.cutting(finish, usage.prompt_tokens, usage.completion_tokens)
        return answer.relay.ending(usage.prompt_tokens, usage.completion_tokens)

    async def body(self) -> bytes:
        """The whole answer of a request that does not stream, settled."""
        if self._whole is None:
            raise RuntimeError("body() before a successful open()")
        await self._conclude(EndReason.FINISH)
        return self._whole.body

    async def _budget(self) -> AnswerBudget | None:
        """A guard on the running answer's tokens, where a token window counts them."""
        if not self._services.admission.policy.tokens or self._reservation is None or self.prompt is None:
            return None
        model = self.order.request.model
        prompt_tokens = await self._services.prompts.tokens(self.order.request, self.prompt)
        return AnswerBudget(
            count=lambda text: self._services.prompts.answer_tokens(model, text),
            allowance=max(self._reservation.ask.tokens - prompt_tokens, 0),
            extend=self._extend,
        )

    # -- ending -------------------------------------------------------------------------------------

    def interrupt(self, interruption: Interruption) -> None:
        """End this exchange from outside: the upstream is closed at once, the client gets its ending."""
        if self._interruption is not None or self.outcome is not None:
            return
        self._interruption = interruption
        if self._opening is not None:
            self._opening.cancel()
        if self._answer is not None:
            self._answer.reply.close()

    def _out_of_time(self, error: UpstreamTimeoutError) -> None:
        self.interrupt(Interruption(EndReason.UPSTREAM_ERROR, error))

    @property
    def usage(self) -> Usage:
        return self.outcome.usage if self.outcome is not None else Usage()

    @property
    def delivered(self) -> bool:
        """The upstream answered: from here on the request counts, whatever comes."""
        return self._answer is not None or self._whole is not None

    @property
    def transcript(self) -> Transcript | None:
        answer = self._answer.relay if self._answer is not None else self._whole
        return answer.transcript if answer is not None else None

    def _reason_for(self, error: BaseException | None) -> EndReason:
        if self._interruption is not None:
            return self._interruption.reason
        if error is None:
            return EndReason.FINISH
        return EndReason.UPSTREAM_ERROR if isinstance(error, Exception) else EndReason.CLIENT_GONE

    async def _conclude(self, reason: EndReason, error: BaseException | None = None) -> None:
        """Settle once, to the end, also when the client leaves meanwhile."""
        if self._settling is None:
            if self._deadlines is not None:
                self._deadlines.stop()
            self._settling = asyncio.create_task(self._settle(reason, error))
        await asyncio.shield(self._settling)

    async def _settle(self, reason: EndReason, error: BaseException | None) -> None:
        services, order = self._services, self.order
        await self._close_upstream(reason)
        services.leases.release(order.stream_id)
        usage = await services.usage(order.request, self.prompt, self.transcript)
        self.outcome = self._make_outcome(reason, usage, error)
        refund = not self.delivered and reason is not EndReason.CLIENT_GONE
        await asyncio.gather(
            services.settle_limits(self._reservation, usage, refund=refund or not self._asked_upstream),
            services.settle_session(self.outcome, self._session if self._entered else None),
        )

    async def _close_upstream(self, reason: EndReason) -> None:
        if self._answer is None:
            if self._whole is not None:
                await self._whole.lease.give_back()
            return
        if reason is EndReason.FINISH:
            await self._answer.reply.finish()
        else:
            self._answer.reply.close()
        await self._answer.lease.give_back()

    def _make_outcome(self, reason: EndReason, usage: Usage, error: BaseException | None) -> Outcome:
        ended = self._services.clock()
        answer = self._answer or self._whole
        ttft = None if self._first_event_at is None else int((self._first_event_at - self._started) * 1000)
        return Outcome(
            order=self.order,
            prompt=self.prompt,
            transcript=self.transcript,
            usage=usage,
            reason=reason,
            error_code=_error_code(error),
            created=self._started,
            duration_ms=int((ended - self._started) * 1000),
            ttft_ms=ttft,
            attempts=answer.attempts if answer is not None else int(self._asked_upstream),
            upstream=answer.lease.candidate.upstream.name if answer is not None else "",
            key_last4=answer.lease.candidate.key.last4 if answer is not None else "",
        )


def _error_code(error: BaseException | None) -> str | None:
    if isinstance(error, StreamProxyError):
        return error.code
    return "internal_error" if isinstance(error, Exception) else None


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await *work* so that a cancelled caller does not cut it."""
    await asyncio.shield(asyncio.ensure_future(work))
