"""CONTRACTS A1.9 and "all unknown fields go upstream untouched": what the upstream hears of a client."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.http import Client, chat
from tests.support.proxy import ProxyProcess
from tests.support.upstream import ScriptedUpstream

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PRIVATE = {
    "cookie": "session=planted-cookie",
    "x_stainless_lang": "python",
    "x_stainless_retry_count": "0",
    "x_stainless_something_new": "planted",
    "accept_encoding": "gzip, br",
    "keep_alive": "timeout=5",
    "te": "trailers",
    "proxy_authorization": "Basic cGxhbnRlZA==",
    "x_forwarded_for": "203.0.113.9",
    "origin": "https://chat.example",
    "referer": "https://chat.example/private?planted",
    "x_session_id": "planted-session",
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_what_is_the_clients_own_is_not_forwarded(
    patient: Client, patient_proxy: ProxyProcess, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    """A1.9: credential, cookies, SDK telemetry, encodings, host, hop-by-hop fields."""
    await patient.ask("POST", "/v1/chat/completions", chat(stream=stream), **PRIVATE)
    (request,) = upstream.requests
    names = {name.lower() for name, _ in request.headers}
    values = " ".join(value for _, value in request.headers)
    assert patient.bearer
    assert patient.bearer not in values
    assert "planted" not in values.replace("sk-planted", "")
    assert not [name for name in names if name.startswith("x-stainless")]
    assert not names & {"cookie", "keep-alive", "te", "proxy-authorization", "x-forwarded-for", "origin", "referer"}
    assert request.header("Accept-Encoding") in (None, "identity")
    assert request.header("Host") != "proxy.test"


async def test_the_upstream_is_called_with_one_of_our_keys(
    patient: Client, patient_proxy: ProxyProcess, upstream: ScriptedUpstream
) -> None:
    await patient.chat()
    (request,) = upstream.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.header("Authorization") in [f"Bearer {key}" for key in patient_proxy.keys]
    assert request.header("Content-Type") == "application/json"


async def test_traceparent_is_forwarded(patient: Client, upstream: ScriptedUpstream) -> None:
    """A1.9: the one header that goes through, so that a trace does not end here."""
    await patient.ask("POST", "/v1/chat/completions", chat(), traceparent=TRACE)
    assert upstream.requests[0].header("traceparent") == TRACE


FIELDS: dict[str, Any] = {
    "temperature": 0.30000000000000004,
    "max_completion_tokens": 12,
    "seed": 2**63 + 1,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "tool_choice": "auto",
    "logit_bias": {"50256": -100},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "stop": ["\n\n", "END"],
    "user": "u-1",
    "n": 2,
    "metadata": {"k": "v"},
    "reasoning_effort": "high",
    "something_nobody_knows_yet": {"deep": [None, True, 1e-7, "Grüße\u2028"]},
    "enable_thinking": False,
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_every_field_of_the_request_goes_upstream_untouched(
    patient: Client, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    await patient.chat(stream=stream, **FIELDS)
    received = upstream.requests[0].json
    assert {name: received.get(name) for name in FIELDS} == FIELDS
    assert set(received) - set(FIELDS) <= {"model", "messages", "stream", "stream_options"}


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "name": "ann", "content": [{"type": "text", "text": "What is it?"}, IMAGE]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "42"},
    {"role": "assistant", "content": "", "reasoning_content": "hm", "refusal": None},
    {"role": "user", "content": "", "cache_control": {"type": "ephemeral"}},
]


async def test_messages_of_every_kind_go_upstream_untouched(patient: Client, upstream: ScriptedUpstream) -> None:
    """Without a session nothing is added, dropped or put in another order."""
    await patient.ask("POST", "/v1/chat/completions", {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True})
    assert upstream.requests[0].json["messages"] == MESSAGES


async def test_a_claimed_identity_in_the_body_is_only_a_field(patient: Client, upstream: ScriptedUpstream) -> None:
    """Common to all families: identity comes from the credential alone."""
    answer = await patient.chat(user="somebody-else", username="admin", openid="o1")
    assert answer.status == 200
    assert upstream.requests[0].json["username"] == "admin"
