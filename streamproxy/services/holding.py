"""What one exchange holds while it runs: its share of the limits, and its place in a session."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from streamproxy.domain.limits import Ask, Reservation, Standing
from streamproxy.domain.sessions import SessionRef, Turn
from streamproxy.errors import RateLimitError, StoreUnavailableError
from streamproxy.services.order import Order
from streamproxy.services.outcome import Outcome
from streamproxy.services.parts import Parts
from streamproxy.services.prompt import Prompt
from streamproxy.wire.chat import ChatRequest
from streamproxy.wire.plain import PlainRequest

log = logging.getLogger(__name__)


class Holding:
    """Taken step by step, given back at once by ``settle``, however far the steps came."""

    def __init__(self, parts: Parts, order: Order) -> None:
        self.standings: tuple[Standing, ...] = ()
        self._parts = parts
        self._order = order
        self._reservation: Reservation | None = None
        self._session: SessionRef | None = None
        self._alone: Prompt | None = None

    @property
    def reserved_tokens(self) -> int | None:
        """What may be used before more has to be taken, None where no token window counts."""
        if self._reservation is None or not self._reservation.ask.policy.tokens:
            return None
        return self._reservation.ask.tokens

    async def reserve(self) -> None:
        """Take the request's share of every limit. RateLimitError or QuotaError when there is none."""
        parts, order = self._parts, self._order
        policy = parts.admission.policy if order.policy is None else order.policy.limits
        tokens = prompt_tokens = 0
        if policy.tokens:
            prompt_tokens = await parts.prompts.tokens(order.request, await self._prompt_alone())
            reply_tokens = order.request.reply_tokens
            tokens = prompt_tokens + (parts.reply_reserve if reply_tokens is None else reply_tokens)
        at_least = prompt_tokens + 1 if order.request.reply_tokens is None else tokens
        ask = Ask(order.limit_scope, order.request_id, policy, tokens)
        try:
            admitted = await parts.admission.reserve(ask, at_least=at_least)
        except StoreUnavailableError:
            parts.watch.decided("store_away")
            raise
        parts.watch.decided(admitted.decision)
        self.standings = admitted.standings
        if admitted.refusal is not None:
            raise admitted.refusal
        self._reservation = admitted.reservation
        parts.leases.hold_place(order.stream_id, self._reservation)

    async def prompt(self) -> Prompt:
        """The request's prompt, behind its session's context if it has one, whose place is then held."""
        parts, order = self._parts, self._order
        if order.session_id is None or isinstance(order.request, PlainRequest):
            return await self._prompt_alone()
        # From here on the turn may be queued or hold the session: whatever happens, it has to be left.
        self._session = SessionRef(order.principal.id, order.session_id)
        await parts.leases.catch_up(self._session)
        prompt = await parts.prompts.in_session(order.request, self._session, order.stream_id)
        parts.leases.hold_turn(order.stream_id, self._session)
        await self._reserve_context(prompt)
        return prompt

    async def _prompt_alone(self) -> Prompt:
        """The request's prompt without any context."""
        if self._alone is None:
            prompts, order = self._parts.prompts, self._order
            if order.fit and isinstance(order.request, ChatRequest):
                self._alone = await prompts.fitted(order.request)
            else:
                self._alone = prompts.stateless(order.request)
        return self._alone

    async def _reserve_context(self, prompt: Prompt) -> None:
        """The context comes on top of what the request itself brought: it costs tokens too."""
        reserved = self.reserved_tokens
        if reserved is None or prompt.tokens is None or prompt.tokens < reserved:
            return
        if not await self.extend(prompt.tokens + 1 - reserved):
            raise RateLimitError("The session's context does not fit into this token window.", retry_after=1)

    async def extend(self, tokens: int) -> bool:
        """Take *tokens* more; False when the windows have no room for them."""
        if self._reservation is None:
            return True
        extended = await self._parts.admission.extend(self._reservation, tokens)
        self._reservation = extended or self._reservation
        return extended is not None

    async def settle(self, outcome: Outcome, *, refund: bool) -> None:
        """Give everything back: what was not used, and the place in the session behind the new turn."""
        self._parts.leases.release(self._order.stream_id)
        await asyncio.gather(self._settle_limits(outcome, refund=refund), self._settle_session(outcome))

    async def _settle_limits(self, outcome: Outcome, *, refund: bool) -> None:
        if refund:
            await self._parts.admission.refund(self._reservation)
        else:
            await self._parts.admission.settle(self._reservation, tokens=outcome.usage.total_tokens)

    async def _settle_session(self, outcome: Outcome) -> None:
        """Append the turn if something was said, and let the next one in."""
        if self._session is None:
            return
        parts, stream_id, answer = self._parts, self._order.stream_id, outcome.answer
        if answer is None or outcome.prompt is None:
            with contextlib.suppress(StoreUnavailableError):
                await parts.sessions.leave(self._session, stream_id)
            return
        messages = (*outcome.prompt.said, answer)
        turn = Turn(stream_id, messages, await parts.prompts.turn_tokens(self._order.request.model, messages))
        try:
            await parts.sessions.append(self._session, turn, outcome.prompt.system)
        except StoreUnavailableError:
            log.warning("a turn waits for its session: Redis is away")
            parts.leases.keep_turn(self._session, turn, outcome.prompt.system)
