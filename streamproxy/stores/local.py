"""Limits in this worker's memory, for the time Redis is away.

Each worker admits ⌊N / workers⌋ of every limit, so that all together stay within N. Where N is smaller than
the number of workers that is 0: refused until Redis is back. What Redis had counted before is not known
here, so the window in which Redis went away, and the one in which it came back, may admit up to 2 N.
Nothing outlives the worker, and so a running place needs no lease. Memory is bounded: the scopes that
asked longest ago are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

from streamproxy.domain.limits import Ask, DayQuota, Decision, Limit, LimitPolicy, Reservation, Standing
from streamproxy.stores.local_counters import MICROSECONDS, Counter, Day, SlidingWindow

MAX_SCOPES = 10_000
# As in Redis: what left a token window may count for up to one bucket longer.
BUCKETS = 60


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a request took from one counter."""

    unit: str
    counter: Counter
    where: int
    amount: int


@dataclass(slots=True)
class _Held:
    """Everything a running request took."""

    reservation: Reservation
    taken: list[_Taken]

    def correct_tokens(self, tokens: int) -> None:
        """Too few: the rest counts where the newest were taken. Too many: the newest go back first."""
        missing: dict[int, int] = {}
        for taken in self.taken:
            missing[id(taken.counter)] = missing.get(id(taken.counter), tokens) - taken.amount
        for taken in reversed(self.taken):
            if taken.unit == "tokens":
                step = max(missing[id(taken.counter)], -taken.amount)
                taken.counter.correct(taken.where, step)
                missing[id(taken.counter)] -= step


@dataclass(slots=True)
class _Scope:
    """What one principal used, and what its running requests hold."""

    counters: dict[tuple[str, Limit], Counter] = field(default_factory=dict)
    held: dict[str, _Held] = field(default_factory=dict)

    def running(self) -> int:
        return sum(1 for held in self.held.values() if held.reservation.ask.policy.streams)


@dataclass(frozen=True, slots=True)
class _Look:
    """One limit before an ask of *amount*, at *now*. *share* is this worker's part of it."""

    unit: str
    limit: Limit
    counter: Counter
    share: int
    amount: int
    now: int

    def wait(self) -> int:
        missing = self.counter.used(self.now) + self.amount - self.share
        if missing <= 0:
            return 0
        if self.amount > self.share and not isinstance(self.limit, DayQuota):
            return self.counter.length
        return self.counter.wait(self.now, missing)

    def standing(self) -> Standing:
        left = max(0, self.share - self.counter.used(self.now))
        seconds = self.counter.length // MICROSECONDS
        return Standing(self.unit, self.limit.count, left, seconds, max(0, self.counter.reset(self.now)) / MICROSECONDS)

    def take(self) -> _Taken:
        return _Taken(self.unit, self.counter, self.counter.take(self.now, self.amount), self.amount)


class LocalLimits:
    """Fills LimitStore for one of *workers* workers. *clock* is epoch seconds; *zone* is where days begin.

    A repeated ask counts once while its request runs.
    """

    def __init__(self, *, workers: int, zone: ZoneInfo, clock: Callable[[], float]) -> None:
        self._workers = workers
        self._zone = zone
        self._clock = clock
        self._scopes: OrderedDict[str, _Scope] = OrderedDict()

    async def reserve(self, ask: Ask) -> Decision:
        """Take one request, *ask.tokens* tokens and a running place, or nothing at all."""
        scope = self._scope(ask.scope)
        looks = self._looks(scope, ask.policy, ask.tokens)
        held = scope.held.get(ask.request_id)
        if held is None:
            refused_by, wait = self._refusal(scope, ask.policy, looks)
            if wait:
                standings = tuple(look.standing() for look in looks)
                return Decision(None, standings, refused_by, wait / MICROSECONDS)
            reservation = Reservation(ask, local=True)
            held = scope.held[ask.request_id] = _Held(reservation, [look.take() for look in looks])
        return Decision(held.reservation, tuple(look.standing() for look in looks))

    async def extend(self, reservation: Reservation, tokens: int, *, spare: bool = False) -> Reservation | None:
        """Take *tokens* more; the answer's ``ask.tokens`` is all that is held now. None when there is no room."""
        ask = reservation.ask
        scope = self._scope(ask.scope)
        held = scope.held.get(ask.request_id)
        looks = self._looks(scope, LimitPolicy(tokens=ask.policy.tokens), tokens)
        if spare:
            looks = [replace(look, share=look.share // 2) for look in looks]
        if held is None or any(look.wait() for look in looks):
            return None
        held.taken += [look.take() for look in looks]
        held.reservation = Reservation(ask.of(ask.tokens + tokens), reservation.stamps, local=reservation.local)
        return held.reservation

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        """Correct the token windows to what was really used, free the place. Once."""
        held = self._scope(reservation.ask.scope).held.pop(reservation.ask.request_id, None)
        if held is not None:
            held.correct_tokens(tokens)

    async def refund(self, reservation: Reservation) -> None:
        """Give back request, tokens and place. Once."""
        held = self._scope(reservation.ask.scope).held.pop(reservation.ask.request_id, None)
        if held is not None:
            for taken in held.taken:
                taken.counter.correct(taken.where, -taken.amount)

    async def renew(self, reservations: Sequence[Reservation]) -> None:
        """Places here are no leases: they last until settled or refunded."""

    def _scope(self, name: str) -> _Scope:
        scope = self._scopes.setdefault(name, _Scope())
        self._scopes.move_to_end(name)
        if len(self._scopes) > MAX_SCOPES:
            self._scopes.popitem(last=False)
        return scope

    def _looks(self, scope: _Scope, policy: LimitPolicy, tokens: int) -> list[_Look]:
        now = int(self._clock() * MICROSECONDS)
        # A limit that is written twice is one limit.
        asked = [("requests", limit, 1) for limit in dict.fromkeys(policy.requests)]
        asked += [("tokens", limit, tokens) for limit in dict.fromkeys(policy.tokens)]
        looks = []
        for unit, limit, amount in asked:
            if (unit, limit) not in scope.counters:
                scope.counters[unit, limit] = self._counter(unit, limit)
            share = limit.count // self._workers
            looks.append(_Look(unit, limit, scope.counters[unit, limit], share, amount, now))
        return looks

    def _counter(self, unit: str, limit: Limit) -> Counter:
        if isinstance(limit, DayQuota):
            return Day(self._zone)
        length = limit.seconds * MICROSECONDS
        width = 1 if unit == "requests" else max(MICROSECONDS, -(-length // BUCKETS))
        return SlidingWindow(length=length, width=width)

    def _refusal(self, scope: _Scope, policy: LimitPolicy, looks: Sequence[_Look]) -> tuple[str, int]:
        """The limit that takes longest to have room, and how long (0: there is room everywhere)."""
        refused_by, longest = "", 0
        if policy.streams and scope.running() >= policy.streams // self._workers:
            refused_by, longest = "streams", MICROSECONDS
        for look in looks:
            wait = look.wait()
            if wait > longest:
                longest = wait
                refused_by = "calendar-day" if isinstance(look.limit, DayQuota) else look.unit
        return refused_by, longest
