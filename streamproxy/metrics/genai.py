"""OpenTelemetry's instruments for generative AI, in Prometheus' spelling, with the buckets that they specify.

https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-metrics.md; the spelling is
https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#otlp-metric-points-to-prometheus:
dots become underscores, the unit ``s`` becomes ``_seconds``, a unit in braces is left out.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Histogram

from streamproxy.domain.streams import Timing, UsageRecord
from streamproxy.metrics.labels import Labels
from streamproxy.metrics.tally import HistogramTally

TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
DURATION_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
FIRST_TOKEN_BUCKETS: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
OUTPUT_TOKEN_BUCKETS: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
_LABELS: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")

# Tokens of the prompt, tokens of the answer, seconds in all; seconds to the first event where those are measured.
_Ended: TypeAlias = tuple[int, int, float, float | None]


class GenAi:
    """What streams cost in time and tokens.

    A tally itself: a stream is kept as one value, and becomes what the histograms observe when that is passed on.
    """

    def __init__(self, registry: CollectorRegistry | None, labels: Labels) -> None:
        self._labels = labels

        def histogram(name: str, text: str, buckets: tuple[float, ...], *more: str) -> HistogramTally:
            return HistogramTally(Histogram(name, text, [*_LABELS, *more], registry=registry, buckets=buckets))

        self._tokens = histogram(
            "gen_ai_client_token_usage", "Input and output tokens used.", TOKEN_BUCKETS, "gen_ai_token_type"
        )
        self._duration = histogram(
            "gen_ai_server_request_duration_seconds",
            "From the request to the last event; error_type is empty for good ends.",
            DURATION_BUCKETS,
            "error_type",
        )
        self._first_token = histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From the request to the upstream's first event, of streams that ended well.",
            FIRST_TOKEN_BUCKETS,
        )
        self._output_token = histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "From the first event to the end by the tokens after the first, of streams that ended well.",
            OUTPUT_TOKEN_BUCKETS,
        )
        # By the labels of ``Labels.of_stream`` and the error's code.
        self._pending: defaultdict[tuple[tuple[str, str, str], str], list[_Ended]] = defaultdict(list)
        self.tallies = (self,)

    def record(self, record: UsageRecord, timing: Timing) -> None:
        """A stream ended, or a whole answer."""
        labels = self._labels.of_stream(record.endpoint, record.upstream, record.model)
        usage, error, ttft = record.usage, record.error_code, record.ttft_ms
        first = None if error is not None or ttft is None or not timing.streamed else ttft / 1000
        ended = usage.prompt_tokens, usage.completion_tokens, record.duration_ms / 1000, first
        self._pending[labels, error or ""].append(ended)

    def publish(self) -> None:
        """Pass on what came since the last time."""
        pending, self._pending = self._pending, defaultdict(list)
        for (labels, error), streams in pending.items():
            self._duration.pending[*labels, error] += [seconds for _, _, seconds, _ in streams]
            used = [(prompt, answer) for prompt, answer, _, _ in streams if prompt or answer]
            if used:
                self._tokens.pending[*labels, "input"] += [prompt for prompt, _ in used]
                self._tokens.pending[*labels, "output"] += [answer for _, answer in used]
            timed = [(answer, seconds, first) for _, answer, seconds, first in streams if first is not None]
            if timed:
                self._first_token.pending[labels] += [first for _, _, first in timed]
            if paced := [(seconds - first) / (answer - 1) for answer, seconds, first in timed if answer > 1]:
                self._output_token.pending[labels] += paced
        for tally in (self._tokens, self._duration, self._first_token, self._output_token):
            tally.publish()
