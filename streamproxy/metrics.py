"""What is counted, for Prometheus. With several workers the counters live in shared files
(``PROMETHEUS_MULTIPROC_DIR``, set by the supervisor before this module is imported), so that any worker
answers for all.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

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
        self._tokens = Counter("streamproxy_tokens", "Tokens used.", ["kind", "estimated"], registry=registry)
        self._first_token = Histogram(
            "streamproxy_time_to_first_event_seconds",
            "From the request to the upstream's first event.",
            registry=registry,
            buckets=_FIRST_TOKEN_BUCKETS,
        )

    def observe(self, record: UsageRecord) -> None:
        """A stream ended."""
        self._streams.labels(record.endpoint, record.end_reason).inc()
        estimated = str(record.usage.estimated).lower()
        self._tokens.labels("prompt", estimated).inc(record.usage.prompt_tokens)
        self._tokens.labels("completion", estimated).inc(record.usage.completion_tokens)
        if record.ttft_ms is not None:
            self._first_token.observe(record.ttft_ms / 1000)

    def exposition(self, *, running: int) -> bytes:
        """Prometheus text of all workers; *running* is this worker's."""
        self._running.set(running)
        return generate_latest(self._registry)
