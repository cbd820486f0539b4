"""Sums kept in plain dictionaries until they are passed on to the library's instruments.

With several workers each ``inc`` of prometheus_client takes a lock and writes to a mapped file, and each label
lookup builds keys anew: some twenty microseconds a stream more than a relay has to give. Here a value costs one
dictionary look-up, and the library is called once a period for each series that moved.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

from prometheus_client import Counter, Histogram

Labels = tuple[str, ...]


class CounterTally:
    """What is to be added to *counter*, by its labels' values in their order."""

    __slots__ = ("_counter", "_pending")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._pending: defaultdict[Labels, float] = defaultdict(float)

    def add(self, *labels: str, amount: float = 1) -> None:
        self._pending[labels] += amount

    def publish(self) -> None:
        """Pass on what came since the last time."""
        pending, self._pending = self._pending, defaultdict(float)
        for labels, amount in pending.items():
            (self._counter.labels(*labels) if labels else self._counter).inc(amount)


class HistogramTally:
    """What is to be observed by *histogram*, counted in its own buckets.

    The library has no public way to add several observations at once, so ``publish`` reaches for ``_buckets`` and
    ``_sum``; a test holds it to what ``observe`` does.
    """

    __slots__ = ("_bounds", "_histogram", "_pending")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._bounds = histogram._upper_bounds
        self._pending: dict[Labels, list[float]] = {}

    def add(self, *labels: str, value: float) -> None:
        row = self._pending.get(labels)
        if row is None:
            # A number for each bucket, the last one's bound being infinite, and the sum.
            row = self._pending[labels] = [0.0] * (len(self._bounds) + 1)
        row[bisect_left(self._bounds, value)] += 1
        row[-1] += value

    def publish(self) -> None:
        """Pass on what came since the last time."""
        pending, self._pending = self._pending, {}
        for labels, row in pending.items():
            child = self._histogram.labels(*labels) if labels else self._histogram
            child._sum.inc(row[-1])
            for bucket, count in zip(child._buckets, row, strict=False):
                if count:
                    bucket.inc(count)
