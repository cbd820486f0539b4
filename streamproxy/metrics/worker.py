"""What a worker says of itself: what runs on it, whether it has Redis, how late its loop is, what it uses."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streamproxy.metrics.tally import CounterTally, HistogramTally

# A loop that is 100 ms late stutters visibly; one that is 10 ms late has no time left.
LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class WorkerGauges:
    """See the module. ``livesum`` and its like forget a worker when it is gone."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        def gauge(name: str, text: str, mode: str) -> Gauge:
            return Gauge(name, text, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]  # a Literal

        self._alive = gauge("streamproxy_workers", "Workers that are alive.", "livesum")
        self._running = gauge("streamproxy_streams_running", "Streams that run now.", "livesum")
        self._redis = gauge(
            "streamproxy_redis_available", "0 while a worker's circuit breaker keeps calls away from Redis.", "livemin"
        )
        self._memory = gauge("streamproxy_resident_memory_bytes", "Resident memory of all workers.", "livesum")
        self._files = gauge("streamproxy_open_files", "Open files of the worker that has most of them.", "livemax")
        self._files_limit = gauge("streamproxy_open_files_limit", "How many files a worker may have open.", "livemin")
        self._cpu = CounterTally(
            Counter("streamproxy_cpu_seconds", "Processor time that the workers used.", registry=registry)
        )
        self._lag = HistogramTally(
            Histogram(
                "streamproxy_loop_lag_seconds",
                "How late a worker's event loop woke up.",
                registry=registry,
                buckets=LAG_BUCKETS,
            )
        )
        self._cpu_seen = 0.0
        self.tallies = (self._cpu, self._lag)

    def woke_late(self, seconds: float) -> None:
        """The loop woke up so much later than it was asked to."""
        self._lag.add(value=max(seconds, 0.0))

    def show(self, *, running: int, redis_available: bool) -> None:
        """Take everything down as it is now."""
        self._alive.set(1)
        self._running.set(running)
        self._redis.set(redis_available)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._files_limit.set(limit)
        try:
            self._memory.set(int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE)
            # Since Linux 6.2 the folder has their number for a size, before that 0; to list many takes long.
            self._files.set(os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")))
        except OSError:
            # There is none left to look with.
            self._files.set(limit)
        times = os.times()
        used = times.user + times.system
        self._cpu.add(amount=used - self._cpu_seen)
        self._cpu_seen = used
