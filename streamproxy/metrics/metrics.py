"""One worker's counters, and all workers' sums. Its methods are called where things happen, and only add up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import Counter, Histogram, generate_latest

from streamproxy.domain.keypool import Upstream
from streamproxy.domain.streams import Timing, UsageRecord
from streamproxy.metrics.genai import GenAi
from streamproxy.metrics.keys import KeyMetrics
from streamproxy.metrics.labels import Labels
from streamproxy.metrics.shared import open_registry
from streamproxy.metrics.tally import CounterTally, HistogramTally
from streamproxy.metrics.worker import WorkerGauges

PUBLISH_SECONDS: Final = 0.5
OVERHEAD_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30)
LATENCY_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """See the package. *models* are names of models that the settings know beside the catalogue's."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        self._registry, self._shared = open_registry()
        # In shared mode the values live in files and the collector reads those; registering too would double them.
        registry = self._registry if self._shared is None else None
        self._labels = Labels(models)
        self._gen_ai = GenAi(registry, self._labels)
        self._worker = WorkerGauges(registry)
        self.keys = KeyMetrics(registry)
        # Streams that ended since the last time: sorted out when they are passed on.
        self._ended: list[tuple[UsageRecord, Timing]] = []
        self._running: Callable[[], int] = lambda: 0
        self._redis_available: Callable[[], bool] = lambda: True

        def counter(name: str, text: str, *labels: str) -> CounterTally:
            return CounterTally(Counter(name, text, labels, registry=registry))

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> HistogramTally:
            return HistogramTally(Histogram(name, text, labels, registry=registry, buckets=buckets))

        self._streams = counter("streamproxy_streams", "Streams that ended.", "endpoint", "end_reason")
        self._tokens = counter("streamproxy_tokens", "Tokens used.", "kind", "estimated")
        self._limits = counter("streamproxy_limit_decisions", "What the limits said to requests.", "decision")
        self._redis = counter("streamproxy_redis_events", "Calls that Redis failed, and what the breaker did.", "event")
        self._overhead = histogram(
            "streamproxy_overhead_seconds",
            "Our own part of a request: before the upstream is called, and settling after its end.",
            OVERHEAD_BUCKETS,
            "phase",
        )
        self._resume = histogram(
            "streamproxy_resume_seconds", "From a resuming request to its first event.", LATENCY_BUCKETS
        )
        self._cancel = histogram("streamproxy_cancel_seconds", "From asking to cancel to the receipt.", LATENCY_BUCKETS)
        self._tallies = (
            *(self._streams, self._tokens, self._limits, self._redis),
            *(self._overhead, self._resume, self._cancel),
            *(*self._gen_ai.tallies, *self._worker.tallies, *self.keys.tallies),
        )

    def meet(self, upstreams: Iterable[Upstream]) -> None:
        """These are the upstreams from now on: what they serve may be a label."""
        # What ended before has the names of its time.
        self._sort_out()
        self._labels.meet(upstreams)

    def ended(self, record: UsageRecord, timing: Timing) -> None:
        """A stream ended."""
        self._ended.append((record, timing))

    def decided(self, decision: str) -> None:
        """The limits have decided; *decision* is one of ``services.admission``'s words."""
        self._limits.pending[decision,] += 1

    def redis(self, event: str) -> None:
        """A call to Redis ``failed``, or its breaker ``opened`` or ``closed``."""
        self._redis.add(event)

    def resumed(self, seconds: float) -> None:
        """A reader that came back had its first event after so long."""
        self._resume.add(value=seconds)

    def cancelled(self, seconds: float) -> None:
        """Who asked to cancel a stream had its receipt after so long."""
        self._cancel.add(value=seconds)

    def watch(self, *, running: Callable[[], int], redis_available: Callable[[], bool]) -> None:
        """From now on show what these say of this worker."""
        self._running, self._redis_available = running, redis_available

    async def keep(self) -> None:
        """Pass on what was added up, for ever, and take down how this worker is."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PUBLISH_SECONDS
            await asyncio.sleep(PUBLISH_SECONDS)
            self._worker.woke_late(loop.time() - due)
            self._publish()

    def exposition(self) -> bytes:
        """Prometheus text of all workers."""
        self._publish()
        if self._shared is not None:
            self._shared.bury_the_dead()
        return generate_latest(self._registry)

    def close(self) -> None:
        """Pass on the rest; this worker is no longer among the living."""
        self._pass_on()
        if self._shared is not None:
            self._shared.close()

    def _publish(self) -> None:
        self._worker.show(running=self._running(), redis_available=self._redis_available())
        self._pass_on()

    def _pass_on(self) -> None:
        self._sort_out()
        for tally in self._tallies:
            tally.publish()

    def _sort_out(self) -> None:
        """Add up what ended: a period's streams at once, which is less work than each by itself."""
        ended, self._ended = self._ended, []
        streams, tokens, overhead = self._streams.pending, self._tokens.pending, self._overhead.pending
        for record, timing in ended:
            usage = record.usage
            estimated = "true" if usage.estimated else "false"
            streams[record.endpoint, record.end_reason] += 1
            tokens["prompt", estimated] += usage.prompt_tokens
            tokens["completion", estimated] += usage.completion_tokens
            self._gen_ai.record(record, timing)
        if before := [timing.before_call for _, timing in ended if timing.before_call is not None]:
            overhead["before",] += before
        if after := [timing.settling for _, timing in ended if timing.settling is not None]:
            overhead["after",] += after
