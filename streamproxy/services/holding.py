"""What one exchange holds while it runs: its share of the limits, and its place in a session."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import TypeAlias

import msgspec

from streamproxy.domain.limits import Ask, Reservation, Standing
from streamproxy.domain.sessions import NO_PLACE, Context, Message, Queued, SessionRef, Turn
from streamproxy.domain.tokens import TOKENS_FOR_REPLY
from streamproxy.errors import RateLimitError, StoreUnavailableError
from streamproxy.services.budget import FIRST_PIECE
from streamproxy.services.order import Order
from streamproxy.services.outcome import Outcome
from streamproxy.services.parts import Parts
from streamproxy.services.prompt import Prompt
from streamproxy.uninterrupted import uninterrupted
from streamproxy.wire.chat import ChatRequest
from streamproxy.wire.plain import PlainRequest

log = logging.getLogger(__name__)

# A turn, where it belongs, and the system message it was said under.
Said: TypeAlias = tuple[SessionRef, Turn, Message | None]


class Holding(msgspec.Struct, eq=False):
    """Taken step by step, given back at once by ``settle``, however far the steps came.

    *reserved_tokens* may be used before more has to be taken, None where no token window counts.
    """

    _parts: Parts
    _order: Order
    standings: tuple[Standing, ...] = ()
    reserved_tokens: int | None = None
    _reservation: Reservation | None = None
    _session: SessionRef | None = None
    _chat: ChatRequest | None = None
    _context: Context | None = None
    _queued: Queued = NO_PLACE
    _alone: Prompt | None = None
    _size: int | None = None
    _alone_tokens: int = 0

    async def reserve(self) -> None:
        """Take the request's share of every limit, and with it a place in its session, at once or in the queue.

        RateLimitError or QuotaError when there is no such share; the session then knows nothing of it.
        """
        parts, order = self._parts, self._order
        step = None
        if order.session_id is not None and not isinstance(order.request, PlainRequest):
            # From here on the turn may be queued or hold the session: whatever happens, it has to be left.
            self._session, self._chat = SessionRef(order.principal.id, order.session_id), order.request
            if parts.leases.unsaid:
                await parts.leases.catch_up(self._session)
            step = partial(parts.turnstile.enter, ref=self._session, turn_id=order.stream_id)
        ask, at_least = await self._ask()
        try:
            admitted = await parts.admission.reserve(ask, at_least=at_least, step=step)
        except StoreUnavailableError:
            parts.watch.decided("store_away")
            raise
        parts.watch.decided(admitted.decision)
        self.standings = admitted.standings
        if admitted.refusal is not None:
            self._session = None
            raise admitted.refusal
        reservation, place = admitted.reservation, admitted.place
        if reservation is not None:
            self._hold(reservation)
        if isinstance(place, Queued):
            self._queued = place
            if reservation is not None:
                parts.leases.hold_place(order.stream_id, reservation)
        elif self._session is not None:
            self._context = place
            parts.leases.hold_turn(order.stream_id, self._session, reservation)

    async def _ask(self) -> tuple[Ask, int]:
        """What to ask the limits for, and with how many tokens the request will do.

        Where a session's context is expected it is asked for as well, but nobody is refused for want of it.
        """
        parts, order = self._parts, self._order
        # What the limits count by, and which.
        if order.policy is None:
            scope, policy = order.principal.id, parts.admission.policy
        else:
            scope, policy = f"{order.principal.id}:{order.policy.name}", order.policy.limits
        if not policy.tokens:
            return Ask(scope, order.request_id, policy), 0
        request, context = order.request, 0
        if self._session is None or order.fit:
            prompt = await self._prompt_alone()
            alone = await parts.prompts.tokens(request, prompt)
            self._alone = prompt.counted(alone)
        else:
            self._size = await parts.prompts.size(request.model, request.messages)
            alone = TOKENS_FOR_REPLY + self._size
        if self._session is not None:
            context = parts.contexts[self._session]
        self._alone_tokens, reply = alone, request.reply_tokens
        tokens = alone + (parts.reply_reserve if reply is None else reply) + context
        spare = FIRST_PIECE if request.stream else 0
        return Ask(scope, order.request_id, policy, tokens, spare), alone + (1 if reply is None else reply)

    def _hold(self, reservation: Reservation) -> None:
        self._reservation = reservation
        self.reserved_tokens = reservation.ask.tokens if reservation.ask.policy.tokens else None

    async def prompt(self) -> Prompt:
        """The request's prompt, behind its session's context if it has one, whose place is then held."""
        parts, session, chat = self._parts, self._session, self._chat
        if session is None or chat is None:
            return await self._prompt_alone()
        stream_id, place = self._order.stream_id, self._context or self._queued
        prompt = await parts.prompts.in_session(chat, session, stream_id, place=place, size=self._size)
        if self._context is None:
            parts.leases.hold_turn(stream_id, session, self._reservation)
        # It may be half a megabyte.
        self._context = None
        # The context comes on top of what the request itself brought: it costs tokens too.
        reserved = self.reserved_tokens
        if reserved is not None and prompt.tokens is not None and prompt.tokens >= reserved:
            await self._reserve_more(prompt.tokens + 1 - reserved)
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

    async def _reserve_more(self, tokens: int) -> None:
        if not await self.extend(tokens):
            raise RateLimitError("The session's context does not fit into this token window.", retry_after=1)

    async def extend(self, tokens: int, *, spare: bool = False) -> bool:
        """Take *tokens* more; False when the windows have no room for them, or would be over half full for *spare*."""
        if self._reservation is None:
            return True
        # Who is cancelled meanwhile settles next, and has to know what was taken until then.
        return await uninterrupted(self._extend(self._reservation, tokens, spare=spare))

    async def _extend(self, reservation: Reservation, tokens: int, *, spare: bool) -> bool:
        extended = await self._parts.admission.extend(reservation, tokens, spare=spare)
        if extended is not None:
            self._hold(extended)
        return extended is not None

    async def settle(self, outcome: Outcome, *, refund: bool) -> None:
        """Give everything back: what was not used, and the place in the session behind the new turn."""
        self._parts.leases.release(self._order.stream_id)
        turn = await self._turn(outcome)
        reservation = self._reservation
        if turn is None:
            await self._settle_limits(outcome, refund=refund)
            await self._leave_session()
        elif refund or reservation is None or reservation.local:
            await self._settle_limits(outcome, refund=refund)
            await self._append(turn)
        else:
            # Limits and session in one step, as nearly every turn ends.
            try:
                await self._parts.turnstile.leave(reservation, outcome.record.usage.total_tokens, *turn)
            except StoreUnavailableError:
                log.warning("limits not settled: Redis is away; the place frees itself with its lease")
                self._keep(turn)

    async def _settle_limits(self, outcome: Outcome, *, refund: bool) -> None:
        if refund:
            await self._parts.admission.refund(self._reservation)
        else:
            await self._parts.admission.settle(self._reservation, tokens=outcome.record.usage.total_tokens)

    async def _turn(self, outcome: Outcome) -> Said | None:
        """What the session keeps of this stream, None where nothing was said in one."""
        session, answer, prompt = self._session, outcome.answer, outcome.prompt
        if session is None or answer is None or prompt is None:
            return None
        messages = (*prompt.said, answer)
        tokens = await self._parts.prompts.turn_tokens(
            self._order.request.model,
            messages,
            said_tokens=prompt.said_tokens,
            answer_tokens=outcome.answer_tokens,
        )
        if prompt.tokens is not None and self._alone_tokens:
            context = prompt.tokens - self._alone_tokens
            self._parts.contexts.note(session, tokens + context if context > 0 else tokens)
        return session, Turn(self._order.stream_id, messages, tokens), prompt.system

    async def _append(self, said: Said) -> None:
        try:
            await self._parts.sessions.append(*said)
        except StoreUnavailableError:
            self._keep(said)

    def _keep(self, said: Said) -> None:
        log.warning("a turn waits for its session: Redis is away")
        self._parts.leases.keep_turn(*said)

    async def _leave_session(self) -> None:
        """Nothing was said: let the next turn in."""
        if self._session is not None:
            with contextlib.suppress(StoreUnavailableError):
                await self._parts.sessions.leave(self._session, self._order.stream_id)
