"""What provider keys do, by upstream and the last four characters of the key. Fills ``services.keybook.KeyWatch``."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from streamproxy.domain.keypool import KeyState
from streamproxy.metrics.tally import CounterTally


class KeyMetrics:
    """How keys stand, how often they were asked, how often in vain."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        labels = ["upstream", "key"]
        self._calls = CounterTally(Counter("streamproxy_key_calls", "Calls answered.", labels, registry=registry))
        self._errors = CounterTally(
            Counter(
                "streamproxy_key_errors",
                "Calls failed, by our code.",
                [*labels, "code"],
                registry=registry,
            )
        )
        self._states = Gauge(
            "streamproxy_keys",
            "Provider keys by how they stand.",
            [*labels, "state"],
            registry=registry,
            # All workers see the same keys: the newest word of any of them is right, a sum would not be.
            multiprocess_mode="mostrecent",
        )
        self._shown: set[tuple[str, str]] = set()
        self.tallies = (self._calls, self._errors)

    def called(self, upstream: str, last4: str) -> None:
        """A call by this key was answered."""
        self._calls.pending[upstream, last4] += 1

    def failed(self, upstream: str, last4: str, error: str) -> None:
        """A call by this key failed; *error* is one of our own codes, so their number is bounded."""
        self._errors.add(upstream, last4, error)

    def standings(self, counts: Mapping[tuple[str, str, KeyState], int]) -> None:
        """How many keys of an upstream and last 4 stand how; a key that is gone counts 0."""
        self._shown |= {(upstream, last4) for upstream, last4, _ in counts}
        for upstream, last4 in self._shown:
            for state in KeyState:
                self._states.labels(upstream, last4, state).set(counts.get((upstream, last4, state), 0))
