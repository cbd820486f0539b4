"""Limits counted in Redis, exactly, over all workers, by Redis's own time.

At most N requests in any window (t - W, t]; tokens are taken before a call and corrected after it; a day is
the calendar day of one zone. One script decides over all limits of an ask: everything is taken, or nothing.
When Redis cannot answer, StoreUnavailableError: whether to go on without counting is not decided here.
A Redis that lost its data has forgotten what was used: then up to 2 N in one window, once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

from streamproxy.domain.limits import Ask, Decision, Reservation, day_bounds
from streamproxy.stores.redis import places_key, request_key, request_keys
from streamproxy.stores.redis.connect import Call, RedisLink
from streamproxy.stores.redis.counts import (
    MICROSECONDS,
    Correction,
    Plan,
    Plans,
    amount_of,
    corrected,
    given_back,
    joined,
)
from streamproxy.stores.redis.scripts import load_script

# A step is repeated at once or never, so a minute of memory is ample.
REMEMBER_MILLISECONDS = 60_000
_ANOTHER_DAY = -1
_ending_of = attrgetter("ending")


class RedisLimits:
    """Fills LimitStore. *zone* is where calendar days begin; a running place lasts *lease_seconds* unless renewed."""

    def __init__(self, link: RedisLink, *, zone: ZoneInfo, lease_seconds: float = 12.0) -> None:
        self._link = link
        self._zone = zone
        self._lease = round(lease_seconds * MICROSECONDS)
        # Of the day it is at Redis, which the first ask will tell.
        self.plans = Plans((0, 0))
        self._reserve = load_script("reserve")
        self._settle = load_script("settle")
        self._renew = load_script("renew_places")

    async def reserve(self, ask: Ask) -> Decision:
        """Take one request, *ask.tokens* tokens and a running place, or nothing at all; *ask.spare*: see LimitStore."""
        while True:
            plan = self.plans[ask.policy]
            answer = await self._link.run(*self.reserving(ask, plan))
            if (decision := self.decision(ask, plan, answer)) is not None:
                return decision

    def reserving(self, ask: Ask, plan: Plan) -> Call:
        """The step of ``reserve``, by the policy's *plan* for this day; ``decision`` reads the answer."""
        own = (ask.request_id, ask.tokens, ask.spare, ask.policy.streams, self._lease, REMEMBER_MILLISECONDS)
        return self._reserve, request_keys(ask.scope, ask.request_id, plan.endings), (*own, *plan.arguments)

    def decision(self, ask: Ask, plan: Plan, answer: Sequence[Any]) -> Decision | None:
        """What Redis decided; None when it is another day there: then ask again."""
        if answer[0] == _ANOTHER_DAY:
            first, end = day_bounds(answer[1] // MICROSECONDS, self._zone)
            self.plans = Plans((int(first), int(end)))
            return None
        admitted, refusing, wait, stamps, *numbers = answer
        standings = plan.standings(numbers[::2], numbers[1::2])
        if admitted:
            marks = tuple(stamps.decode().split())
            held = ask.of(amount_of(marks[-1])) if ask.spare and ask.policy.tokens else ask
            return Decision(Reservation(held, marks), standings)
        refused_by = plan.counts[refusing - 1].refused_by if refusing else "streams"
        return Decision(None, standings, refused_by, wait / MICROSECONDS)

    async def extend(self, reservation: Reservation, tokens: int, *, spare: bool = False) -> Reservation | None:
        """Take *tokens* more; the answer's ``ask.tokens`` is all that is held now. None when there is no room."""
        ask = reservation.ask
        held = ask.of(ask.tokens + tokens)
        if not ask.policy.tokens:
            return Reservation(held, reservation.stamps, local=reservation.local)
        # An ask of its own. What is held already makes its id: repeated, it takes once; the next one is another.
        # For what is spare, the same windows are asked as if they were half as large.
        plan = self.plans[ask.policy]
        policy = plan.of_half_the_tokens if spare else plan.of_tokens
        more = Ask(ask.scope, f"{ask.request_id}+{ask.tokens}", policy, tokens)
        taken = (await self.reserve(more)).reservation
        if taken is None:
            return None
        requests = len(ask.policy.requests)
        pairs = zip(reservation.stamps[requests:], taken.stamps, strict=True)
        stamps = (*reservation.stamps[:requests], *(joined(old, new) for old, new in pairs))
        return Reservation(held, stamps, local=reservation.local)

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        """Correct the token windows to what was really used, free the place."""
        await self._link.run(*self.settling(reservation, tokens))

    def settling(self, reservation: Reservation, tokens: int) -> Call:
        """The step of ``settle``."""
        counts = self.plans[reservation.ask.policy].counts
        return self._ending(reservation, "settled", corrected(counts, reservation.stamps, tokens))

    async def refund(self, reservation: Reservation) -> None:
        """Give back request, tokens and place."""
        taken = given_back(self.plans[reservation.ask.policy].counts, reservation.stamps)
        await self._link.run(*self._ending(reservation, "refunded", taken))

    def _ending(self, reservation: Reservation, ending: str, corrections: Sequence[Correction]) -> Call:
        ask = reservation.ask
        keys = request_keys(ask.scope, ask.request_id, map(_ending_of, corrections))
        args: list[str | int] = [ask.request_id, ending, " ".join(reservation.stamps), REMEMBER_MILLISECONDS]
        for correction in corrections:
            args += (correction.kind, correction.where, correction.amount)
        return self._settle, keys, args

    async def renew(self, reservations: Sequence[Reservation]) -> None:
        """Prolong the running places in one round trip; also those that ran out while Redis was away."""
        running: defaultdict[str, list[str]] = defaultdict(list)
        for reservation in reservations:
            if reservation.ask.policy.streams:
                running[reservation.ask.scope].append(reservation.ask.request_id)
        await self._link.run_many([self._renewal(scope, ids) for scope, ids in running.items()])

    def _renewal(self, scope: str, request_ids: Sequence[str]) -> Call:
        keys = [places_key(scope), *(request_key(scope, request_id) for request_id in request_ids)]
        return self._renew, keys, [self._lease, *request_ids]
