"""OpenTelemetry's instruments: their names, their buckets, and labels that no stranger can multiply."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from streamproxy.domain.keypool import Upstream
from streamproxy.domain.streams import EndReason, Timing, Usage, UsageRecord
from streamproxy.metrics.genai import GenAi
from streamproxy.metrics.labels import Labels

UPSTREAMS = [
    Upstream("main", "openai", "https://a.example/v1", {"gpt-4o": "*", "claude-*": "*", "*": "*"}),
    Upstream("cloud", "azure", "https://b.example", {"gpt-35": "*"}),
]
RECORD = UsageRecord(
    stream_id="st_1",
    request_id="req_1",
    user_id="u_1",
    session_id=None,
    endpoint="/v1/chat/completions",
    model="gpt-4o",
    upstream="main",
    key_last4="abcd",
    created=0.0,
    ttft_ms=400,
    duration_ms=1400,
    chunks=5,
    attempts=1,
    usage=Usage(prompt_tokens=20, completion_tokens=11),
    end_reason=EndReason.FINISH,
)
# As the conventions list them.
DURATIONS = "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92"
FIRST_TOKENS = "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10"
SPECIFIED = {
    "gen_ai_client_token_usage": "1 4 16 64 256 1024 4096 16384 65536 262144 1048576 4194304 16777216 67108864",
    "gen_ai_server_request_duration_seconds": DURATIONS,
    "gen_ai_server_time_to_first_token_seconds": FIRST_TOKENS,
    "gen_ai_server_time_per_output_token_seconds": "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5",
}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def gen_ai(registry: CollectorRegistry) -> GenAi:
    labels = Labels(["o3"])
    labels.meet(UPSTREAMS)
    return GenAi(registry, labels)


def _publish(gen_ai: GenAi, *records: UsageRecord, streamed: bool = True) -> None:
    for record in records:
        gen_ai.record(record, Timing(streamed=streamed))
    for tally in gen_ai.tallies:
        tally.publish()


def _samples(registry: CollectorRegistry, name: str) -> list[tuple[dict[str, str], float]]:
    return [(s.labels, s.value) for family in registry.collect() for s in family.samples if s.name == name]


@pytest.mark.parametrize("name", SPECIFIED)
def test_the_buckets_are_those_that_the_conventions_specify(
    registry: CollectorRegistry, gen_ai: GenAi, name: str
) -> None:
    """Dashboards made for the conventions compute quantiles from these bounds."""
    _publish(gen_ai, RECORD)
    found = {float(labels["le"]) for labels, _ in _samples(registry, f"{name}_bucket")}
    assert found == {*map(float, SPECIFIED[name].split()), float("inf")}


def test_a_stream_is_told_by_time_and_tokens(registry: CollectorRegistry, gen_ai: GenAi) -> None:
    """Time per output token leaves the first token and the wait for it out."""
    _publish(gen_ai, RECORD)
    labels = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": "gpt-4o",
    }
    tokens = {s["gen_ai_token_type"]: v for s, v in _samples(registry, "gen_ai_client_token_usage_sum")}
    assert tokens == {"input": 20, "output": 11}
    assert _samples(registry, "gen_ai_server_time_to_first_token_seconds_sum") == [(labels, 0.4)]
    assert _samples(registry, "gen_ai_server_time_per_output_token_seconds_sum") == [(labels, pytest.approx(0.1))]


@pytest.mark.parametrize("record", [replace(RECORD, error_code="upstream_disconnected"), replace(RECORD, ttft_ms=None)])
def test_times_of_tokens_are_only_told_of_streams_that_ended_well(
    registry: CollectorRegistry, gen_ai: GenAi, record: UsageRecord
) -> None:
    """The conventions speak of successful responses; the duration is told of all, with the error's type."""
    _publish(gen_ai, record)
    assert not _samples(registry, "gen_ai_server_time_to_first_token_seconds_sum")
    (duration,) = _samples(registry, "gen_ai_server_request_duration_seconds_sum")
    assert duration[0]["error_type"] == (record.error_code or "")


def test_streams_that_are_passed_on_together_are_told_as_one_by_one() -> None:
    """They are of one series, and of some of them not everything is told."""
    silent = replace(RECORD, usage=Usage(), error_code="upstream_disconnected")
    streams = [RECORD, silent, replace(RECORD, usage=Usage(7, 1)), replace(RECORD, ttft_ms=None), silent, RECORD]
    together, alone = CollectorRegistry(), CollectorRegistry()
    _publish(GenAi(together, Labels()), *streams)
    gen_ai = GenAi(alone, Labels())
    for record in streams:
        _publish(gen_ai, record)
    told = [
        [(s.name, s.labels, s.value) for f in r.collect() for s in f.samples if not s.name.endswith("_created")]
        for r in (together, alone)
    ]
    assert told[0] == told[1]
    assert len(told[0]) > len(SPECIFIED)


@pytest.mark.parametrize(
    ("asked", "label"),
    [("gpt-4o", "gpt-4o"), ("claude-x", "claude-*"), ("o3", "o3"), ("made-up", "other"), ("claude", "other")],
)
def test_a_model_is_a_label_only_if_the_catalogue_knows_it(
    registry: CollectorRegistry, gen_ai: GenAi, asked: str, label: str
) -> None:
    """An upstream that serves every name must not let callers make series."""
    _publish(gen_ai, replace(RECORD, model=asked))
    assert {s["gen_ai_request_model"] for s, _ in _samples(registry, "gen_ai_client_token_usage_count")} == {label}


def test_a_thousand_invented_models_are_one_series(registry: CollectorRegistry, gen_ai: GenAi) -> None:
    _publish(gen_ai, *(replace(RECORD, model=f"m-{n}", upstream=f"u-{n}") for n in range(1000)))
    assert len(_samples(registry, "gen_ai_server_time_to_first_token_seconds_sum")) == 1


def test_labels_follow_the_catalogue(registry: CollectorRegistry) -> None:
    """What a stream was called before an upstream came or changed is not what it is called afterwards."""
    labels = Labels()
    gen_ai = GenAi(registry, labels)
    _publish(gen_ai, RECORD)
    labels.meet([Upstream("main", "azure", "https://a.example", {"gpt-4o": "*"})])
    _publish(gen_ai, RECORD)
    told = [s for s, _ in _samples(registry, "gen_ai_server_request_duration_seconds_count")]
    assert [(s["gen_ai_provider_name"], s["gen_ai_request_model"]) for s in told] == [
        ("openai", "other"),
        ("azure.ai.openai", "gpt-4o"),
    ]


def test_the_provider_is_the_flavour_of_the_upstream(registry: CollectorRegistry, gen_ai: GenAi) -> None:
    _publish(gen_ai, replace(RECORD, upstream="cloud"), streamed=False)
    assert {s["gen_ai_provider_name"] for s, _ in _samples(registry, "gen_ai_client_token_usage_count")} == {
        "azure.ai.openai"
    }
