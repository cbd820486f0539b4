"""What was counted and measured, kept in plain dictionaries until it is passed on to the library's instruments.

With several workers each ``inc`` of prometheus_client takes a lock and writes to a mapped file, and each label
lookup builds keys anew: some twenty microseconds a stream more than a relay has to give. Here a value costs one
dictionary look-up, and the library is called once a period for each series that moved. On the way of a request even
that is done without a call: ``tally.pending[labels] += 1``, ``tally.pending[labels].append(seconds)``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from functools import partial

from prometheus_client import Counter, Histogram

Labels = tuple[str, ...]


class CounterTally:
    """``pending`` is to be added to *counter*, by its labels' values in their order."""

    __slots__ = ("_counter", "pending")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self.pending: defaultdict[Labels, float] = defaultdict(float)

    def add(self, *labels: str, amount: float = 1) -> None:
        self.pending[labels] += amount

    def publish(self) -> None:
        """Pass on what came since the last time."""
        pending, self.pending = self.pending, defaultdict(float)
        for labels, amount in pending.items():
            (self._counter.labels(*labels) if labels else self._counter).inc(amount)


class HistogramTally:
    """``pending`` is to be observed by *histogram*: a list of values a series, as long as a period has streams.

    The library has no public way to add several observations at once, so ``publish`` reaches for ``_buckets`` and
    ``_sum``; a test holds it to what ``observe`` does.
    """

    __slots__ = ("_bucket", "_histogram", "pending")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        # The last bound is infinite.
        self._bucket = partial(bisect_left, histogram._upper_bounds)
        self.pending: defaultdict[Labels, list[float]] = defaultdict(list)

    def add(self, *labels: str, value: float) -> None:
        self.pending[labels].append(value)

    def publish(self) -> None:
        """Pass on what came since the last time."""
        pending, self.pending = self.pending, defaultdict(list)
        for labels, values in pending.items():
            child = self._histogram.labels(*labels) if labels else self._histogram
            child._sum.inc(sum(values))
            for bucket, count in Counts(map(self._bucket, values)).items():
                child._buckets[bucket].inc(count)
