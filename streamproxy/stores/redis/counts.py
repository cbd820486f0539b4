"""How each limit of a policy is counted in Redis: its key, its arguments, and what its stamp means.

Stamps are the store's own marks inside a reservation: a ring's is the time of its entry; of buckets it is
``bucket:tokens`` (several, comma-separated, once the reservation was extended); of a day ``start:amount``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import repeat
from operator import truediv

import msgspec

from streamproxy.domain.limits import DayQuota, Limit, LimitPolicy, Standing, halved
from streamproxy.stores.redis import limit_ending

MICROSECONDS = 1_000_000
# Buckets a token window is counted in: what left the window may count for up to one bucket longer.
BUCKETS = 60


class Correction(msgspec.Struct, frozen=True):
    """A change of one count: *amount* at *where*, or the entry *where* removed from a ring.

    *ending* is what the count's key ends with.
    """

    ending: str
    kind: str
    where: str
    amount: int


class Count(msgspec.Struct, frozen=True):
    """One limit of a policy as it is counted. *window* is what the key of a window's count ends with."""

    unit: str
    kind: str
    limit: Limit
    nth: int
    window: str | None

    def of_day(self, start: int | str) -> str:
        """What the key of a day's count ends with, by the epoch second the day began at."""
        return limit_ending(self.kind, _numbered(start, self.nth))

    def arguments(self, day: tuple[int, int]) -> tuple[str | int, ...]:
        """kind, count and two numbers, as ``reserve.lua`` reads them."""
        if isinstance(self.limit, DayQuota):
            return self.kind, self.limit.count, day[0] * MICROSECONDS, day[1] * MICROSECONDS
        window = self.limit.seconds * MICROSECONDS
        width = max(MICROSECONDS, -(-window // BUCKETS)) if self.kind == "cells" else 0
        return self.kind, self.limit.count, window, width

    def seconds(self, day: tuple[int, int]) -> int:
        """How long it is counted over."""
        return day[1] - day[0] if isinstance(self.limit, DayQuota) else self.limit.seconds

    @property
    def refused_by(self) -> str:
        return "calendar-day" if isinstance(self.limit, DayQuota) else self.unit


class Plan:
    """How the limits of one policy are counted on one day, in its order, requests before tokens.

    *day* is from an epoch second to before another. Made once a day; a request only fills in who asks.
    """

    def __init__(self, policy: LimitPolicy, day: tuple[int, int]) -> None:
        self.policy = policy
        self.day = day
        self.counts = tuple(_counts(policy))
        self.endings = tuple(count.window or count.of_day(day[0]) for count in self.counts)
        # What ``reserve.lua`` reads of all of them.
        self.arguments = tuple(argument for count in self.counts for argument in count.arguments(day))
        self._units = tuple(count.unit for count in self.counts)
        self._most = tuple(count.limit.count for count in self.counts)
        self._seconds = tuple(count.seconds(day) for count in self.counts)

    def standings(self, remaining: Iterable[int], resets: Iterable[int]) -> tuple[Standing, ...]:
        """Where each limit stands. *resets* are in µs."""
        seconds = map(truediv, resets, repeat(MICROSECONDS))
        return tuple(map(Standing, self._units, self._most, remaining, self._seconds, seconds))

    @cached_property
    def of_tokens(self) -> LimitPolicy:
        """The limits on tokens alone."""
        return LimitPolicy(tokens=self.policy.tokens)

    @cached_property
    def of_half_the_tokens(self) -> LimitPolicy:
        """The same windows as if they were half as large."""
        return LimitPolicy(tokens=tuple(halved(limit) for limit in self.policy.tokens))


# Policies are few, and come out of settings; those of keys may be changed while the worker lives.
_MOST_PLANS = 256


class Plans(dict[LimitPolicy, Plan]):
    """The plans of one *day*, each made when it is first asked for."""

    def __init__(self, day: tuple[int, int]) -> None:
        super().__init__()
        self.day = day

    def __missing__(self, policy: LimitPolicy) -> Plan:
        if len(self) >= _MOST_PLANS:
            self.clear()
        plan = self[policy] = Plan(policy, self.day)
        return plan


def _counts(policy: LimitPolicy) -> Iterator[Count]:
    seen: Counter[tuple[str, int]] = Counter()
    for unit, window_kind, limits in (("requests", "ring", policy.requests), ("tokens", "cells", policy.tokens)):
        for limit in limits:
            kind, length = (f"{unit}-day", 0) if isinstance(limit, DayQuota) else (window_kind, limit.seconds)
            nth = seen[kind, length]
            yield Count(unit, kind, limit, nth, limit_ending(kind, _numbered(length, nth)) if length else None)
            seen[kind, length] += 1


def _numbered(length: int | str, nth: int) -> str:
    return f"{length}.{nth}" if nth else str(length)


def amount_of(stamp: str) -> int:
    """How many tokens were taken, by the *stamp* of one window of them."""
    return sum(amount for _, amount in _parts(stamp))


def given_back(counts: Sequence[Count], stamps: Sequence[str]) -> list[Correction]:
    """Everything that was taken, to be removed."""
    return [correction for count, stamp in zip(counts, stamps, strict=False) for correction in _removal(count, stamp)]


def _removal(count: Count, stamp: str) -> Iterator[Correction]:
    parts = [(stamp, -1)] if count.kind == "ring" else _parts(stamp)
    for where, taken in parts:
        yield Correction(count.window or count.of_day(where), count.kind, where, -taken)


def corrected(counts: Sequence[Count], stamps: Sequence[str], tokens: int) -> list[Correction]:
    """What changes the tokens that were taken into *tokens*, in the buckets where they were taken."""
    corrections = []
    # Without stamps (repeated after Redis forgot what was taken) nothing is corrected.
    for count, stamp in zip(counts, stamps, strict=False):
        if count.unit == "tokens":
            for where, amount in _differences(stamp, tokens):
                corrections.append(Correction(count.window or count.of_day(where), count.kind, where, amount))
    return corrections


def _differences(stamp: str, tokens: int) -> list[tuple[str, int]]:
    """Too few: the rest counts in the newest bucket. Too many: the newest give back first."""
    if "," not in stamp:
        where, _, taken = stamp.partition(":")
        difference = tokens - int(taken)
        return [(where, difference)] if difference else []
    parts = _parts(stamp)
    difference = tokens - sum(amount for _, amount in parts)
    steps = []
    for where, amount in reversed(parts):
        step = max(difference, -amount)
        if step:
            steps.append((where, step))
        difference -= step
    return steps


def joined(stamp: str, more: str) -> str:
    """One stamp for two takings from the same limit."""
    parts = dict(_parts(stamp))
    for where, taken in _parts(more):
        parts[where] = parts.get(where, 0) + taken
    return ",".join(f"{where}:{taken}" for where, taken in parts.items())


def _parts(stamp: str) -> list[tuple[str, int]]:
    return [(where, int(taken)) for where, _, taken in (part.partition(":") for part in stamp.split(","))]
