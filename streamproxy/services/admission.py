"""Admission: a request's way through the limits, also on the day Redis is away.

Then ``on_redis_down`` decides: ``local`` counts in this worker's memory with its share of each limit,
``closed`` refuses (an unmetered request costs money), ``open`` admits everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import TypeAlias

import msgspec

from streamproxy.domain.limits import Ask, Decision, LimitPolicy, Reservation, Standing
from streamproxy.domain.ports import LimitStore
from streamproxy.domain.sessions import NO_PLACE, Place
from streamproxy.errors import QuotaError, RateLimitError, StoreUnavailableError

log = logging.getLogger(__name__)

Step: TypeAlias = Callable[[Ask], Awaitable[tuple[Decision, Place]]]


class OnRedisDown(StrEnum):
    """The setting ``limits.on_redis_down``."""

    LOCAL = "local"
    CLOSED = "closed"
    OPEN = "open"


class Admitted(msgspec.Struct, frozen=True):
    """What a request got: a reservation, or the refusal to raise. *standings* are for the answer's fields.

    *decision* in a word: ``admitted``, ``admitted_local`` (by this worker's share, Redis being away),
    ``uncounted`` (Redis is away and the settings admit everything), or ``refused_`` by ``requests``, ``tokens``,
    ``streams`` or ``calendar-day``. *place* is that in a session, where it was asked for too.
    """

    reservation: Reservation | None
    standings: tuple[Standing, ...] = ()
    refusal: RateLimitError | None = None
    decision: str = "uncounted"
    place: Place = NO_PLACE


_MESSAGES = {
    "requests": "Too many requests in this time window.",
    "tokens": "Too many tokens in this time window.",
    "streams": "Too many answers are running at once.",
    "calendar-day": "The day's limit is used up.",
}


# As many as the breaker of the store counts failures: while it is open, each of them fails at once.
TRIES = 3


class Admission:
    """Reserves before a call and settles after it, by one policy."""

    def __init__(
        self, limits: LimitStore, *, fallback: LimitStore, policy: LimitPolicy, on_redis_down: OnRedisDown
    ) -> None:
        self.policy = policy
        self._limits = limits
        self._fallback = fallback
        self._on_redis_down = on_redis_down

    async def reserve(self, ask: Ask, *, at_least: int, step: Step | None = None) -> Admitted:
        """Take one request, *ask.tokens* tokens and a running place, or none of them.

        Where the windows have less room than that, what is left will do if it is *at_least* so much. *step* asks
        the shared store, and for a place in a session at that occasion. StoreUnavailableError when Redis is away and
        the settings say to refuse then.

        Redis is taken for away only when the breaker opens, after several tries or one that met nothing but silence:
        one slow answer among others, or a moment in which this worker itself was busy, must not have the local count
        admit what Redis has refused.
        """
        place: Place = NO_PLACE
        for attempt in range(TRIES):
            try:
                if step is None:
                    decision = await self._limits.reserve(ask)
                else:
                    decision, place = await step(ask)
                break
            except asyncio.CancelledError:
                await asyncio.shield(self._take_back(ask))
                raise
            except StoreUnavailableError:
                if attempt == TRIES - 1 and self._on_redis_down is OnRedisDown.CLOSED:
                    raise
        else:
            if self._on_redis_down is OnRedisDown.OPEN:
                return Admitted(None)
            decision = await self._fallback.reserve(ask)
        reservation, standings = decision.reservation, decision.standings
        if reservation is not None:
            return Admitted(reservation, standings, None, "admitted_local" if reservation.local else "admitted", place)
        if at_least <= (left := _tokens_left(decision)) < ask.tokens:
            # And not once more, where somebody else was faster.
            fewer = await self.reserve(ask.of(left), at_least=left, step=step)
            if fewer.decision != "uncounted":
                return fewer
        return Admitted(None, standings, _refusal(decision), f"refused_{decision.refused_by or 'requests'}")

    async def _take_back(self, ask: Ask) -> None:
        """Who asked has left before it was known what was taken: asked again, that is named, and can be given back."""
        with contextlib.suppress(StoreUnavailableError):
            await self.refund((await self._limits.reserve(ask)).reservation)

    async def extend(self, reservation: Reservation | None, tokens: int, *, spare: bool = False) -> Reservation | None:
        """*tokens* more for a running answer; None when there is no room, or, *spare*, too little: see LimitStore."""
        if reservation is None:
            return None
        try:
            return await self._store(reservation).extend(reservation, tokens, spare=spare)
        except StoreUnavailableError:
            # The running answer goes on; what it uses is settled when Redis is back, or lost with it.
            return reservation

    async def settle(self, reservation: Reservation | None, *, tokens: int) -> None:
        if reservation is not None:
            try:
                await self._store(reservation).settle(reservation, tokens)
            except StoreUnavailableError:
                log.warning("limits not settled: Redis is away; the place frees itself with its lease")

    async def refund(self, reservation: Reservation | None) -> None:
        if reservation is not None:
            try:
                await self._store(reservation).refund(reservation)
            except StoreUnavailableError:
                log.warning("limits not refunded: Redis is away")

    async def renew(self, reservations: Sequence[Reservation]) -> None:
        """Prolong the running places; StoreUnavailableError when Redis is away."""
        await self._limits.renew([r for r in reservations if not r.local])

    def _store(self, reservation: Reservation) -> LimitStore:
        return self._fallback if reservation.local else self._limits


def _tokens_left(decision: Decision) -> int:
    """What the windows have left that refused for want of tokens; -1 where something else did."""
    if decision.refused_by != "tokens":
        return -1
    return min(standing.remaining for standing in decision.standings if standing.unit == "tokens")


def _refusal(decision: Decision) -> RateLimitError:
    by = decision.refused_by or "requests"
    kind = QuotaError if by == "calendar-day" else RateLimitError
    return kind(_MESSAGES[by], retry_after=decision.retry_after)
