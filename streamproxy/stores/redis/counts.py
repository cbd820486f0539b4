"""How each limit of a policy is counted in Redis: its key, its arguments, and what its stamp means.

Stamps are the store's own marks inside a reservation: a ring's is the time of its entry; of buckets it is
``bucket:tokens`` (several, comma-separated, once the reservation was extended); of a day ``start:amount``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from streamproxy.domain.limits import DayQuota, Limit, LimitPolicy, Reservation, Standing, halved
from streamproxy.stores.redis import limit_key

MICROSECONDS = 1_000_000
# Buckets a token window is counted in: what left the window may count for up to one bucket longer.
BUCKETS = 60


@dataclass(frozen=True, slots=True)
class Count:
    """One limit of a policy as it is counted. *place* of a day is completed by the day's start."""

    unit: str
    kind: str
    limit: Limit
    nth: int

    def key(self, scope: str, day_start: int | str) -> str:
        length = day_start if isinstance(self.limit, DayQuota) else self.limit.seconds
        return limit_key(scope, self.kind, f"{length}.{self.nth}" if self.nth else str(length))

    def arguments(self, day: tuple[int, int]) -> tuple[str | int, ...]:
        """kind, count and two numbers, as ``reserve.lua`` reads them."""
        if isinstance(self.limit, DayQuota):
            return self.kind, self.limit.count, day[0] * MICROSECONDS, day[1] * MICROSECONDS
        window = self.limit.seconds * MICROSECONDS
        width = max(MICROSECONDS, -(-window // BUCKETS)) if self.kind == "cells" else 0
        return self.kind, self.limit.count, window, width

    def standing(self, remaining: int, reset: int, day: tuple[int, int]) -> Standing:
        length = day[1] - day[0] if isinstance(self.limit, DayQuota) else self.limit.seconds
        return Standing(self.unit, self.limit.count, remaining, length, max(0, reset) / MICROSECONDS)

    @property
    def refused_by(self) -> str:
        return "calendar-day" if isinstance(self.limit, DayQuota) else self.unit


class Plan:
    """How the limits of one policy are counted, in its order, requests before tokens."""

    def __init__(self, policy: LimitPolicy) -> None:
        self.policy = policy
        self.counts = tuple(_counts(policy))
        self._day: tuple[int, int] | None = None
        self._arguments: tuple[str | int, ...] = ()

    def arguments(self, day: tuple[int, int]) -> tuple[str | int, ...]:
        """What ``reserve.lua`` reads of all of them, in the *day* from that epoch second to before that one."""
        if day != self._day:
            self._day = day
            self._arguments = tuple(argument for count in self.counts for argument in count.arguments(day))
        return self._arguments

    @cached_property
    def of_tokens(self) -> LimitPolicy:
        """The limits on tokens alone."""
        return LimitPolicy(tokens=self.policy.tokens)

    @cached_property
    def of_half_the_tokens(self) -> LimitPolicy:
        """The same windows as if they were half as large."""
        return LimitPolicy(tokens=tuple(halved(limit) for limit in self.policy.tokens))


# Policies are few and live as long as the worker: known by what they are, for hashing one hashes all of its limits.
_plans: dict[int, Plan] = {}
_MOST_PLANS = 256


def plan_of(policy: LimitPolicy) -> Plan:
    plan = _plans.get(id(policy))
    if plan is None or plan.policy is not policy:
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()
        plan = _plans[id(policy)] = Plan(policy)
    return plan


def _counts(policy: LimitPolicy) -> Iterator[Count]:
    seen: Counter[tuple[str, int]] = Counter()
    for unit, window_kind, limits in (("requests", "ring", policy.requests), ("tokens", "cells", policy.tokens)):
        for limit in limits:
            kind, length = (f"{unit}-day", 0) if isinstance(limit, DayQuota) else (window_kind, limit.seconds)
            yield Count(unit, kind, limit, seen[kind, length])
            seen[kind, length] += 1


@dataclass(frozen=True, slots=True)
class Correction:
    """A change of one count: *amount* at *where*, or the entry *where* removed from a ring."""

    key: str
    kind: str
    where: str
    amount: int


def given_back(reservation: Reservation) -> list[Correction]:
    """Everything a reservation took, to be removed."""
    return [
        correction
        for count, stamp in _stamped(reservation)
        for correction in _removal(count, reservation.ask.scope, stamp)
    ]


def _removal(count: Count, scope: str, stamp: str) -> Iterator[Correction]:
    if count.kind == "ring":
        yield Correction(count.key(scope, 0), count.kind, stamp, 1)
        return
    for where, taken in _parts(stamp):
        yield Correction(count.key(scope, where), count.kind, where, -taken)


def corrected(reservation: Reservation, tokens: int) -> list[Correction]:
    """What changes the tokens a reservation took into *tokens*, in the buckets where they were taken."""
    corrections = []
    for count, stamp in _stamped(reservation):
        if count.unit == "tokens":
            for where, amount in _differences(_parts(stamp), tokens):
                corrections.append(Correction(count.key(reservation.ask.scope, where), count.kind, where, amount))
    return corrections


def _differences(parts: Sequence[tuple[str, int]], tokens: int) -> Iterator[tuple[str, int]]:
    """Too few: the rest counts in the newest bucket. Too many: the newest give back first."""
    difference = tokens - sum(taken for _, taken in parts)
    for where, taken in reversed(parts):
        step = max(difference, -taken)
        if step:
            yield where, step
        difference -= step


def joined(stamp: str, more: str) -> str:
    """One stamp for two takings from the same limit."""
    parts = dict(_parts(stamp))
    for where, taken in _parts(more):
        parts[where] = parts.get(where, 0) + taken
    return ",".join(f"{where}:{taken}" for where, taken in parts.items())


def _stamped(reservation: Reservation) -> Iterator[tuple[Count, str]]:
    # A reservation without stamps (repeated after Redis forgot it) corrects nothing.
    return zip(plan_of(reservation.ask.policy).counts, reservation.stamps, strict=False)


def _parts(stamp: str) -> list[tuple[str, int]]:
    return [(where, int(taken)) for where, _, taken in (part.partition(":") for part in stamp.split(","))]
