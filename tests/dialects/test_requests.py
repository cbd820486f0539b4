"""How a request is spelled for each dialect, and what an upstream's quirks change of it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from streamproxy.dialects import DIALECTS, dialect_of
from streamproxy.dialects.base import Call
from streamproxy.domain.keypool import Upstream
from streamproxy.domain.quirks import NO_QUIRKS, Quirks
from streamproxy.wire.chat import parse_request

MESSAGES = [{"role": "user", "content": "hi"}]


def call_of(name: str, quirks: Quirks = NO_QUIRKS, *, model: str = "at-theirs", key: str = "k1", **fields: Any) -> Call:
    request = parse_request(json.dumps({"model": "at-ours", "messages": MESSAGES, **fields}).encode())
    upstream = Upstream("u", name, "https://h", {"*": "*"}, quirks=quirks)
    return dialect_of(upstream).chat(request, model=model, messages=request.messages, secret=key)


def sent(call: Call) -> Any:
    assert call.body is not None
    return json.loads(b"".join(call.body))


def test_openais_call() -> None:
    call = call_of("openai", stream=True, seed=7)
    assert call.path == "/chat/completions"
    assert call.headers == {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Authorization": "Bearer k1",
    }
    assert sent(call) == {
        "model": "at-theirs",
        "messages": MESSAGES,
        "stream": True,
        "seed": 7,
        "stream_options": {"include_usage": True},
    }


def test_azures_call_has_the_deployment_in_its_path_and_the_key_in_its_own_header() -> None:
    call = call_of("azure", model="gpt-4o prod/eu?x=#1")
    parts = urlsplit(call.path)
    assert parts.path == "/openai/deployments/gpt-4o%20prod%2Feu%3Fx%3D%231/chat/completions"
    assert parse_qs(parts.query) == {"api-version": ["2024-10-21"]}
    assert call.headers == {"Content-Type": "application/json", "Accept": "application/json", "api-key": "k1"}


def test_azures_version_is_a_setting() -> None:
    call = call_of("azure", Quirks(api_version="2025-01-01-preview"))
    assert parse_qs(urlsplit(call.path).query) == {"api-version": ["2025-01-01-preview"]}
    listing = DIALECTS["azure"](Quirks(api_version="2025-01-01-preview")).models(secret="k1")
    assert listing.path == "/openai/models?api-version=2025-01-01-preview"
    assert listing.body is None


@pytest.mark.parametrize("name", DIALECTS)
def test_a_model_on_this_machine_needs_no_key(name: str) -> None:
    headers = call_of(name, key="").headers
    assert headers.keys() == {"Content-Type", "Accept"}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_server_that_refuses_stream_options_does_not_get_them(name: str) -> None:
    """Neither ours nor the client's."""
    quirks = Quirks(send_stream_options=False)
    assert "stream_options" not in sent(call_of(name, quirks, stream=True))
    assert "stream_options" not in sent(call_of(name, quirks, stream=True, stream_options={"include_usage": True}))


@pytest.mark.parametrize("name", DIALECTS)
def test_fields_that_an_upstream_refuses_are_left_out(name: str) -> None:
    quirks = Quirks(drop_fields=("logprobs", "user"))
    body = sent(call_of(name, quirks, stream=True, logprobs=True, user="u1", seed=1))
    assert body.keys() == {"model", "messages", "stream", "seed", "stream_options"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_tokens": 5}, {"max_completion_tokens": 5}),
        ({"max_completion_tokens": 6}, {"max_completion_tokens": 6}),
        ({"max_completion_tokens": 6, "max_tokens": 5}, {"max_completion_tokens": 6}),
        ({"max_tokens": None}, {}),
        ({}, {}),
    ],
)
def test_the_bound_on_the_answer_goes_by_the_name_the_upstream_knows(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    body = sent(call_of("openai", Quirks(max_tokens_field="max_completion_tokens"), **given))
    assert {name: value for name, value in body.items() if name.startswith("max_")} == expected


def test_quirks_leave_what_the_limits_know_of_the_request_alone() -> None:
    request = parse_request(json.dumps({"model": "m", "messages": MESSAGES, "max_tokens": 5}).encode())
    dialect = DIALECTS["openai"](Quirks(max_tokens_field="max_completion_tokens", drop_fields=("messages", "model")))
    call = dialect.chat(request, model="m2", messages=request.messages, secret="")
    assert request.fields["max_tokens"] == 5
    assert (sent(call)["model"], sent(call)["messages"]) == ("m2", MESSAGES)
