"""Counters in memory: amounts in a sliding window, amounts in a calendar day. Times are integer microseconds."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol
from zoneinfo import ZoneInfo

from streamproxy.domain.limits import day_bounds

MICROSECONDS = 1_000_000


class Counter(Protocol):
    """Counts amounts and lets them go when their time is over."""

    @property
    def length(self) -> int:
        """The time it counts over."""

    def used(self, now: int) -> int: ...

    def wait(self, now: int, missing: int) -> int:
        """How long until *missing* of what is counted has gone; the whole length when it is not that much."""

    def reset(self, now: int) -> int:
        """How long until nothing is counted any more."""

    def take(self, now: int, amount: int) -> int:
        """Count *amount*; the answer says where, for ``correct``."""

    def correct(self, where: int, amount: int) -> None:
        """Add *amount*, possibly negative, to what was taken there, unless that has gone."""


class SlidingWindow:
    """Amounts by bucket of time. A bucket counts while any of it lies in the window (t - length, t].

    With buckets one microsecond wide this is an exact log of requests.
    """

    def __init__(self, *, length: int, width: int) -> None:
        self.length = length
        self._width = width
        self._total = 0
        self._amounts: OrderedDict[int, int] = OrderedDict()

    def used(self, now: int) -> int:
        while self._amounts and self._leaves(next(iter(self._amounts))) <= now:
            self._total -= self._amounts.popitem(last=False)[1]
        return self._total

    def _leaves(self, bucket: int) -> int:
        return (bucket + 1) * self._width + self.length

    def wait(self, now: int, missing: int) -> int:
        for bucket, amount in self._amounts.items():
            missing -= amount
            if missing <= 0:
                return self._leaves(bucket) - now
        return self.length

    def reset(self, now: int) -> int:
        return self._leaves(next(reversed(self._amounts))) - now if self._total else 0

    def take(self, now: int, amount: int) -> int:
        # A clock that steps back counts as standing still: buckets stay in order.
        bucket = max(now // self._width, next(reversed(self._amounts), 0))
        self._amounts[bucket] = self._amounts.get(bucket, 0) + amount
        self._total += amount
        return bucket

    def correct(self, where: int, amount: int) -> None:
        if where in self._amounts:
            self._amounts[where] += amount
            self._total += amount


class Day:
    """Amounts of one calendar day in *zone*."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._first = self._end = self._total = 0

    @property
    def length(self) -> int:
        return self._end - self._first

    def used(self, now: int) -> int:
        if now >= self._end:
            first, end = day_bounds(now // MICROSECONDS, self._zone)
            self._first, self._end = int(first) * MICROSECONDS, int(end) * MICROSECONDS
            self._total = 0
        return self._total

    def wait(self, now: int, missing: int) -> int:  # noqa: ARG002 (a Counter: all of it goes at once)
        return self._end - now

    def reset(self, now: int) -> int:
        return self._end - now if self._total else 0

    def take(self, now: int, amount: int) -> int:  # noqa: ARG002 (a Counter: the day is known)
        self._total += amount
        return self._first

    def correct(self, where: int, amount: int) -> None:
        if where == self._first:
            self._total += amount
