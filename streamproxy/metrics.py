"""What is counted, for Prometheus. With several workers the counters live in shared files
(``PROMETHEUS_MULTIPROC_DIR``, set by the supervisor before this module is imported), so that any worker
answers for all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from streamproxy.domain.keypool import KeyState
from streamproxy.domain.streams import UsageRecord

# The buckets that OpenTelemetry's GenAI conventions give for gen_ai.server.time_to_first_token, in seconds.
_FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class Metrics:
    """One worker's counters."""

    def __init__(self) -> None:
        shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._registry = CollectorRegistry()
        if shared:
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]  # the library's own gap
        # In shared mode the values live in files and the collector reads those; registering too would double them.
        registry = None if shared else self._registry
        self._streams = Counter(
            "streamproxy_streams", "Streams that ended.", ["endpoint", "end_reason"], registry=registry
        )
        self._running = Gauge(
            "streamproxy_streams_running",
            "Streams that run now.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._redis = Gauge(
            "streamproxy_redis_available",
            "0 while a worker's circuit breaker keeps calls away from Redis.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._tokens = Counter("streamproxy_tokens", "Tokens used.", ["kind", "estimated"], registry=registry)
        self._first_token = Histogram(
            "streamproxy_time_to_first_event_seconds",
            "From the request to the upstream's first event.",
            registry=registry,
            buckets=_FIRST_TOKEN_BUCKETS,
        )

        labels = ["upstream", "key"]
        self._key_calls = Counter(
            "streamproxy_key_calls", "Calls answered, by upstream and last 4 of the key.", labels, registry=registry
        )
        self._key_errors = Counter(
            "streamproxy_key_errors", "Calls failed, by our code of the error.", [*labels, "code"], registry=registry
        )
        self._keys = Gauge(
            "streamproxy_keys",
            "Provider keys by how they stand.",
            [*labels, "state"],
            registry=registry,
            # All workers see the same keys: the newest word of any of them is right, a sum would not be.
            multiprocess_mode="mostrecent",
        )
        self._shown: set[tuple[str, str]] = set()

    def called(self, upstream: str, last4: str) -> None:
        """A call by this key was answered."""
        self._key_calls.labels(upstream, last4).inc()

    def failed(self, upstream: str, last4: str, error: str) -> None:
        """A call by this key failed; *error* is one of our own codes, so their number is bounded."""
        self._key_errors.labels(upstream, last4, error).inc()

    def standings(self, counts: Mapping[tuple[str, str, KeyState], int]) -> None:
        """How many keys of an upstream and last 4 stand how; a key that is gone counts 0."""
        self._shown |= {(upstream, last4) for upstream, last4, _ in counts}
        for upstream, last4 in self._shown:
            for state in KeyState:
                self._keys.labels(upstream, last4, state).set(counts.get((upstream, last4, state), 0))

    def observe(self, record: UsageRecord) -> None:
        """A stream ended."""
        self._streams.labels(record.endpoint, record.end_reason).inc()
        estimated = str(record.usage.estimated).lower()
        self._tokens.labels("prompt", estimated).inc(record.usage.prompt_tokens)
        self._tokens.labels("completion", estimated).inc(record.usage.completion_tokens)
        if record.ttft_ms is not None:
            self._first_token.observe(record.ttft_ms / 1000)

    def exposition(self, *, running: int, redis_available: bool) -> bytes:
        """Prometheus text of all workers; the arguments are this worker's."""
        self._running.set(running)
        self._redis.set(redis_available)
        return generate_latest(self._registry)
