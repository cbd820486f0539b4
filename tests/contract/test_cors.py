"""CONTRACTS A3: browsers may call from a listed origin, and can read every answer, errors included."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.http import Client, chat
from tests.support.steps import done, error_of, finish, gate, reply, say
from tests.support.upstream import ScriptedUpstream

ORIGIN = "https://chat.example"
CHAT = "/v1/chat/completions"
ASKED = "authorization,content-type,x-stainless-lang,x-stainless-retry-count,x-session-id"
ALWAYS_ALLOWED = [
    "authorization",
    "content-type",
    "x-requested-with",
    "openai-organization",
    "openai-project",
    "last-event-id",
    "cache-control",
    "x-session-id",
    "idempotency-key",
]
EXPOSED = [
    "retry-after",
    "x-request-id",
    "x-stream-id",
    "x-session-id",
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
]


def _names(value: str | None) -> set[str]:
    return {name.strip().lower() for name in (value or "").split(",") if name.strip()}


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/models/gpt-4o-mini", "/v1/nothing"])
async def test_a_preflight_needs_no_credential(patient: Client, path: str) -> None:
    answer = await patient.ask(
        "OPTIONS",
        path,
        authorization="",
        origin=ORIGIN,
        access_control_request_method="POST",
        access_control_request_headers=ASKED,
    )
    assert answer.status == 204
    assert answer.body == b""
    assert answer.head.get("Access-Control-Allow-Origin") == ORIGIN
    assert _names(answer.head.get("Access-Control-Allow-Methods")) >= {"get", "post", "delete", "options"}
    assert _names(answer.head.get("Access-Control-Allow-Headers")) >= _names(ASKED)
    assert int(answer.head.get("Access-Control-Max-Age") or "0") > 0


async def test_a_preflight_allows_what_the_contract_names(patient: Client) -> None:
    """Whether it was asked for or not."""
    for asked in ({}, {"access_control_request_headers": "x-stainless-os"}):
        answer = await patient.ask(
            "OPTIONS", CHAT, authorization="", origin=ORIGIN, access_control_request_method="POST", **asked
        )
        assert _names(answer.head.get("Access-Control-Allow-Headers")) >= {name.strip() for name in ALWAYS_ALLOWED}


async def test_a_preflight_echoes_no_more_than_a_bound(patient: Client) -> None:
    """What a stranger can make us say is bounded, and is made of header names."""
    flood = ",".join(f"x-stainless-{i}" for i in range(700))
    for asked in (flood, "x-stainless-<script>", "x-stainless-a;b, x-stainless-\x7f"):
        answer = await patient.ask(
            "OPTIONS", CHAT, authorization="", origin=ORIGIN, access_control_request_method="POST",
            access_control_request_headers=asked,
        )  # fmt: skip
        allowed = answer.head.get("Access-Control-Allow-Headers") or ""
        assert len(allowed) < 4096
        assert not set(allowed) & set("<>;\x7f")


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "https://chat.example.evil.example", "http://chat.example", "https://chat.exampl"],
)
async def test_an_origin_that_is_not_listed_is_allowed_nothing(
    patient: Client, upstream: ScriptedUpstream, origin: str
) -> None:
    preflight = await patient.ask(
        "OPTIONS", CHAT, authorization="", origin=origin, access_control_request_method="POST"
    )
    real = await patient.ask("POST", CHAT, chat(), origin=origin)
    for answer in (preflight, real):
        assert answer.head.get("Access-Control-Allow-Origin") is None
        assert answer.head.get("Access-Control-Allow-Credentials") is None


ANSWERS: list[tuple[int, str, str, dict[str, str]]] = [
    (200, "POST", CHAT, {}),
    (200, "GET", "/v1/models", {}),
    (401, "POST", CHAT, {"authorization": "Bearer no"}),
    (404, "GET", "/v1/nothing", {}),
    (405, "GET", CHAT, {}),
    (415, "POST", CHAT, {"content_type": "text/plain"}),
]


@pytest.mark.parametrize(("status", "method", "path", "headers"), ANSWERS)
async def test_every_answer_can_be_read_by_a_listed_origin(
    patient: Client, upstream: ScriptedUpstream, status: int, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = await patient.ask(method, path, chat() if method == "POST" else None, origin=ORIGIN, **headers)
    assert answer.status == status
    assert answer.head.get("Access-Control-Allow-Origin") == ORIGIN
    assert _names(answer.head.get("Access-Control-Expose-Headers")) >= set(EXPOSED)
    assert "origin" in _names(answer.head.get("Vary"))


@pytest.mark.parametrize(
    "body", [b"{", b'{"model":"gpt-4o-mini","messages":"x"}', b"x" * 2_000_000], ids=["400", "400 field", "413"]
)
async def test_refusals_of_a_body_can_be_read(patient: Client, body: bytes) -> None:
    answer = await patient.ask("POST", CHAT, body, origin=ORIGIN)
    assert answer.status in (400, 413)
    assert answer.head.get("Access-Control-Allow-Origin") == ORIGIN


async def test_failures_of_the_upstream_can_be_read(patient: Client, upstream: ScriptedUpstream) -> None:
    upstream.script(reply(500, error_of("x")))
    answer = await patient.ask("POST", CHAT, chat(), origin=ORIGIN)
    assert answer.status == 502
    assert answer.head.get("Access-Control-Allow-Origin") == ORIGIN


async def test_a_429_can_be_read_with_its_fields(strict: Client, upstream: ScriptedUpstream) -> None:
    for _ in range(2):
        await strict.chat()
    answer = await strict.ask("POST", CHAT, chat(), origin=ORIGIN)
    assert answer.status == 429
    assert answer.head.get("Access-Control-Allow-Origin") == ORIGIN
    assert "retry-after" in _names(answer.head.get("Access-Control-Expose-Headers"))


async def test_a_stream_opened_by_silence_can_be_read(brisk: Client, upstream: ScriptedUpstream) -> None:
    """The head that is written before anything is known has the fields too."""
    go_on = asyncio.Event()
    upstream.script(gate(go_on), say("x"), finish(), done())
    stream = await brisk.send("POST", CHAT, chat(), origin=ORIGIN)
    head = await stream.head()
    assert head.get("Access-Control-Allow-Origin") == ORIGIN
    go_on.set()
    assert [frame async for frame in stream.frames()]
