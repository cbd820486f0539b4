"""Tallies end in the library's instruments as single observations would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from streamproxy.metrics.tally import CounterTally, HistogramTally

BOUNDS = (0.1, 0.5, 1, 2.5)
VALUES = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.1, 0.11, 0.5, 0.7, 1.0, 2.5, 2.6, 99.0])))


def _histogram() -> tuple[CollectorRegistry, Histogram]:
    registry = CollectorRegistry()
    return registry, Histogram("h", "A histogram.", ["x"], registry=registry, buckets=BOUNDS)


def _samples(registry: CollectorRegistry) -> dict[str, float]:
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#") and "_created" not in line)
    return {name: round(float(value), 9) for name, value in pairs}


@given(values=VALUES, cut=st.integers(min_value=0, max_value=20))
def test_a_histogram_counts_a_tally_as_it_would_count_each_value(values: list[tuple[str, float]], cut: int) -> None:
    """Published at once or in two parts, the buckets, sums and counts are those of ``observe``."""
    (one, histogram), (other, expected) = _histogram(), _histogram()
    tally = HistogramTally(histogram)
    for part in (values[:cut], values[cut:]):
        for label, value in part:
            tally.add(label, value=value)
            expected.labels(label).observe(value)
        tally.publish()
    assert _samples(one) == _samples(other)


def test_a_counter_without_labels_is_counted_too() -> None:
    """What was published is not published again."""
    registry = CollectorRegistry()
    tally = CounterTally(Counter("c", "A counter.", registry=registry))
    tally.add()
    tally.add(amount=2.5)
    for _ in range(2):
        tally.publish()
    assert registry.get_sample_value("c_total") == 3.5
