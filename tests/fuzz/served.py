"""A whole server under bad input: ``streamproxy serve`` as a process, with an upstream that agrees to everything.

Promised of every input: an answer below 500 (or the connection's end), within ``HANG_SECONDS``; of the run: memory that
does not grow with the inputs, and a log without a fault. One 503 is no fault: where the machine is so busy that Redis
takes longer than a quarter of a second, a new resumable stream is refused by it, whatever the input was.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import redis

from tests.fuzz.report import Report
from tests.openapi.fuzz import running_proxy
from tests.support.proxy import ProxyProcess

HANG_SECONDS = 30.0
# What a worker may take more after the run than after the first inputs: caches and buffers, not the inputs.
GROWTH_BYTES = 96 << 20
WARM_UP = 200
REDIS_WAS_SLOW = b'"code":"store_unavailable"'
REFUSED = "refused for Redis"
MOST_REFUSED = 0.02
# A second of a busy machine in a short run.
FEW_REFUSED = 20
SLOW_MICROSECONDS = 100_000


@dataclass(slots=True)
class Served:
    """The server, a bearer for it, and how large it was."""

    proxy: ProxyProcess
    bearer: str
    resident: int = 0

    def measure(self) -> int:
        """Resident bytes of all workers."""
        return sum(int(psutil.Process(pid).memory_info().rss) for pid in self.proxy.pids())

    def warm(self) -> None:
        """From here on it must not grow."""
        self.resident = self.measure()

    def check_memory(self) -> int:
        """How much it grew; AssertionError when that is too much."""
        grown = self.measure() - self.resident
        assert grown < GROWTH_BYTES, f"the server grew by {grown >> 20} MiB"
        return grown

    def watch_redis(self) -> None:
        """From here on Redis writes down which commands were slow."""
        with self.redis() as client:
            client.config_set("slowlog-log-slower-than", SLOW_MICROSECONDS)
            client.slowlog_reset()

    def check_redis(self) -> None:
        """AssertionError when one was."""
        with self.redis() as client:
            slow = client.slowlog_get()
        assert not slow, f"slow in Redis: {[(entry['duration'], entry['command'][:500]) for entry in slow]}"

    def redis(self) -> redis.Redis:
        """A client of the server's Redis."""
        return redis.Redis.from_url(str(self.proxy.settings.redis_url))


@contextmanager
def served(report: Report) -> Iterator[Served]:
    """A server for one run; at its end the log must hold no fault, the memory must not have grown, and hardly any
    input may have been ``REFUSED``."""
    with tempfile.TemporaryDirectory() as folder, running_proxy(Path(folder)) as proxy:
        made = Served(proxy, proxy.bearer("fuzz"))
        made.watch_redis()
        yield made
        made.check_redis()
        if made.resident:
            made.check_memory()
    check_refusals(report)


def check_refusals(report: Report) -> None:
    """AssertionError when more inputs were refused than a busy machine explains."""
    most = max(FEW_REFUSED, int(report.done * MOST_REFUSED))
    assert report.seen[REFUSED] <= most, f"{report.seen[REFUSED]} of {report.done} inputs were refused for Redis"
