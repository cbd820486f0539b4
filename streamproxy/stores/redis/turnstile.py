"""A turn's way in and out in one step each: limits and session of one principal lie in one slot of a cluster.

Limits that count by another scope (an endpoint's own) may lie in another slot: then it is two steps, the session's
never before the limits have admitted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from streamproxy.domain.limits import Ask, Decision, Reservation
from streamproxy.domain.sessions import NO_PLACE, Message, Place, SessionRef, Turn
from streamproxy.stores.redis.connect import Call, RedisLink
from streamproxy.stores.redis.limits import RedisLimits
from streamproxy.stores.redis.scripts import chained
from streamproxy.stores.redis.sessions import RedisSessions

# Forgotten, somebody is read one context too many.
MOST_REFUSED = 10_000


class RedisTurnstile:
    """Fills ``domain.ports.Turnstile``."""

    def __init__(self, link: RedisLink, limits: RedisLimits, sessions: RedisSessions) -> None:
        self._link = link
        self._limits = limits
        self._sessions = sessions
        # Whoever was refused last. One who asks all the same, again and again, is not read a context for nothing.
        self._refused: set[str] = set()
        # As many as the heads of the second scripts list.
        self._enter = chained("reserve", "enter_session", keys=4, args=6)
        self._leave = chained("settle", "append_turn", keys=5, args=9)

    async def enter(self, ask: Ask, ref: SessionRef, turn_id: str) -> tuple[Decision, Place]:
        """Take the request's share of the limits, and a place in the session if there was one."""
        if ask.scope != ref.principal_id:
            return await self._limits.reserve(ask), NO_PLACE
        while True:
            plan = self._limits.plans[ask.policy]
            _, keys, args = self._limits.reserving(ask, plan)
            _, own_keys, own_args = self._sessions.entering(ref, turn_id)
            call = self._enter, (*keys, *own_keys), (*args, *own_args)
            if ask.scope in self._refused:
                admitted, *inside = await self._link.through(self._link.run(*call))
                said = None
            else:
                step = self._link.run_and_read(call, self._sessions.reading(ref))
                (admitted, *inside), said = await self._link.through(step)
            decision = self._limits.decision(ask, plan, admitted)
            if decision is None:
                continue
            if not inside:
                self._note_refused(ask.scope)
                return decision, NO_PLACE
            self._refused.discard(ask.scope)
            if said is None:
                return decision, await self._sessions.place_unread(ref, inside[0])
            return decision, await self._sessions.place(ref, inside[0], said)

    def _note_refused(self, scope: str) -> None:
        if len(self._refused) >= MOST_REFUSED:
            self._refused.clear()
        self._refused.add(scope)

    def leave(
        self, reservation: Reservation, tokens: int, ref: SessionRef, turn: Turn, system: Message | None
    ) -> Coroutine[Any, Any, None]:
        """Settle the limits and append the turn, each once."""
        settling, appending = self._limits.settling(reservation, tokens), self._sessions.appending(ref, turn, system)
        if reservation.ask.scope == ref.principal_id:
            (_, keys, args), (_, own_keys, own_args) = settling, appending
            return self._link.run(self._leave, (*keys, *own_keys), (*args, *own_args))
        return self._apart(settling, appending)

    async def _apart(self, *steps: Call) -> None:
        await asyncio.gather(*(self._link.run(*step) for step in steps))
