"""The official SDKs' own behaviour against a real proxy: what their users see, and what reaches the upstream."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from tests.sdk.conftest import StartCall
from tests.sdk.drivers import Call, Event
from tests.support.http import HEARTBEAT, Client
from tests.support.proxy import ProxyProcess
from tests.support.steps import (
    Step,
    chunk_of,
    done,
    error_of,
    event,
    fin,
    finish,
    gate,
    raw,
    reply,
    say,
    stall,
    tokens,
    usage,
)
from tests.support.upstream import ScriptedUpstream

ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two three"}]}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
BOUND = 1


async def everything(call: Call) -> list[Event]:
    """All events of a call, the end left out."""
    events = []
    while (seen := await call.event()) != {"end": True}:
        events.append(seen)
        if "error" in seen:
            break
    return events


def text_of(events: list[Event]) -> str:
    chunks = [seen["chunk"] for seen in events]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


async def failure(call: Call) -> dict[str, Any]:
    """The error that the call ends with."""
    error: dict[str, Any] = (await everything(call))[-1]["error"]
    return error


async def test_a_stream_is_read_chunk_by_chunk(start: StartCall, patient: Client, upstream: ScriptedUpstream) -> None:
    """The first chunk arrives while the upstream still waits; the last one ends the loop."""
    more = asyncio.Event()
    upstream.script(say("one"), gate(more), say(" two"), finish(), done())
    call = await start(patient, ASKED)
    first = await call.event()
    assert first["chunk"]["choices"][0]["delta"]["content"] == "one"
    more.set()
    assert text_of([first, *await everything(call)]) == "one two"


async def test_a_whole_answer_is_read(start: StartCall, patient: Client, upstream: ScriptedUpstream) -> None:
    (answer,) = await everything(await start(patient, ASKED, mode="whole"))
    assert answer["message"]["choices"][0]["message"]["content"] == "one two three"
    assert answer["message"]["usage"]["total_tokens"] == 12


async def test_models_are_listed(start: StartCall, patient: Client, upstream: ScriptedUpstream) -> None:
    (answer,) = await everything(await start(patient, {}, mode="models"))
    assert set(answer["models"]) == {"gpt-4o-mini", "scripted"}


async def test_an_api_token_is_an_api_key(
    start: StartCall, patient: Client, patient_proxy: ProxyProcess, upstream: ScriptedUpstream
) -> None:
    """``OpenAI(api_key="sk-sp-…")`` as the README shows it."""
    token = patient_proxy.api_token(secrets.token_hex(8))
    assert token.startswith("sk-sp-")
    assert text_of(await everything(await start(patient, ASKED, api_key=token))) == "onetwothree"


def tool_deltas() -> list[Step]:
    """Two tool calls whose arguments come in pieces, cut inside names, numbers and characters."""
    begin = [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 1, "id": "call_2", "type": "function", "function": {"name": "weather", "arguments": ""}},
    ]
    steps: list[Step] = [event(chunk_of({"role": "assistant", "content": None, "tool_calls": [begin[0]]}))]
    pieces = ('{"ci', 'ty": "北', '京", "n": 1', "2}")
    steps += [event(chunk_of({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})) for piece in pieces]
    steps.append(event(chunk_of({"tool_calls": [begin[1]]})))
    steps.append(event(chunk_of({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]})))
    return [*steps, finish("tool_calls"), done()]


async def test_tool_calls_come_in_pieces_and_add_up(
    start: StartCall, patient: Client, upstream: ScriptedUpstream
) -> None:
    upstream.script(*tool_deltas())
    chunks = [seen["chunk"] for seen in await everything(await start(patient, {**ASKED, "tools": [TOOL]}))]
    pieces = [call for c in chunks for call in c["choices"][0]["delta"].get("tool_calls") or ()]
    arguments = ["".join(p["function"]["arguments"] for p in pieces if p["index"] == i) for i in (0, 1)]
    assert arguments == ['{"city": "北京", "n": 12}', "{}"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert upstream.requests[0].json["tools"] == [TOOL]


async def test_the_sdks_own_accumulator_makes_one_answer_of_it(
    start: StartCall, patient: Client, upstream: ScriptedUpstream
) -> None:
    """``chat.completions.stream(…)`` checks ids, indexes and reasons that we relay."""
    upstream.script(*tool_deltas())
    (answer,) = await everything(await start(patient, {**ASKED, "tools": [TOOL]}, mode="helper"))
    choice = answer["message"]["choices"][0]
    assert [call["function"]["arguments"] for call in choice["message"]["tool_calls"]] == [
        '{"city": "北京", "n": 12}',
        "{}",
    ]
    assert choice["finish_reason"] == "tool_calls"


async def test_usage_that_was_asked_for_is_in_the_last_chunk(
    start: StartCall, patient: Client, upstream: ScriptedUpstream
) -> None:
    upstream.script(say("a"), finish(), usage(), done())
    chunks = [
        seen["chunk"]
        for seen in await everything(await start(patient, {**ASKED, "stream_options": {"include_usage": True}}))
    ]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == tokens(7, 5)
    assert not any(chunk.get("usage") for chunk in chunks[:-1])


async def test_usage_that_was_not_asked_for_is_in_none(
    start: StartCall, patient: Client, upstream: ScriptedUpstream
) -> None:
    upstream.script(say("a"), finish(), usage(), done())
    chunks = [seen["chunk"] for seen in await everything(await start(patient, ASKED))]
    assert not any(chunk.get("usage") for chunk in chunks)
    assert all(chunk["choices"] for chunk in chunks)


async def beats_elsewhere(client: Client, upstream: ScriptedUpstream, count: int) -> None:
    """Wait as long as *count* heartbeats take, seen on a stream of our own: SDKs do not show theirs."""
    upstream.once(stall())
    stream = await client.open_chat()
    await upstream.request()
    await stream.head()
    for _ in range(count):
        assert await stream.piece() == HEARTBEAT
    stream.leave()


async def test_heartbeats_before_the_first_token_and_in_the_middle_are_not_seen(
    start: StartCall, brisk: Client, upstream: ScriptedUpstream
) -> None:
    """Three and more each, between any two events, usage chunk and end mark included."""
    gates = [asyncio.Event() for _ in range(4)]
    upstream.once(
        gate(gates[0]),
        say("one"),
        gate(gates[1]),
        say(" two"),
        gate(gates[2]),
        finish(),
        usage(),
        gate(gates[3]),
        done(),
    )
    call = await start(brisk, {**ASKED, "stream_options": {"include_usage": True}})
    await upstream.request()
    for opening in gates:
        await beats_elsewhere(brisk, upstream, 4)
        opening.set()
    events = await everything(call)
    assert text_of(events) == "one two"
    assert events[-1]["chunk"]["usage"] == tokens(7, 5)


async def test_a_resumable_stream_with_ids_and_heartbeats_is_read_as_any_other(
    start: StartCall, brisk: Client, upstream: ScriptedUpstream
) -> None:
    """Ids on every event and four heartbeats between any two: what kills openai-python is the blank line of a beat."""
    gates = [asyncio.Event() for _ in range(4)]
    upstream.once(
        gate(gates[0]),
        say("one"),
        gate(gates[1]),
        say(" two"),
        gate(gates[2]),
        finish(),
        usage(),
        gate(gates[3]),
        done(),
    )
    params = {**ASKED, "stream_options": {"include_usage": True}}
    call = await start(brisk, params, headers={"X-Resumable": "1"})
    await upstream.request()
    for opening in gates:
        await beats_elsewhere(brisk, upstream, 4)
        opening.set()
    events = await everything(call)
    assert text_of(events) == "one two"
    assert events[-1]["chunk"]["usage"] == tokens(7, 5)


@pytest.mark.parametrize("mode", ["stream", "whole", "helper"])
async def test_an_abort_before_the_first_byte_closes_the_upstream(
    start: StartCall, patient: Client, upstream: ScriptedUpstream, mode: str
) -> None:
    upstream.script(stall())
    call = await start(patient, ASKED, mode=mode)
    request = await upstream.request()
    await call.abort()
    async with asyncio.timeout(BOUND):
        await request.left


async def test_an_abort_in_the_middle_closes_the_upstream(
    start: StartCall, patient: Client, upstream: ScriptedUpstream
) -> None:
    upstream.script(say("one"), stall())
    call = await start(patient, ASKED)
    assert "chunk" in await call.event()
    await call.abort()
    async with asyncio.timeout(BOUND):
        await (await upstream.request()).left


async def test_an_abort_while_heartbeats_come_closes_the_upstream(
    start: StartCall, brisk: Client, upstream: ScriptedUpstream
) -> None:
    upstream.once(stall())
    call = await start(brisk, ASKED)
    request = await upstream.request()
    await beats_elsewhere(brisk, upstream, 4)
    await call.abort()
    async with asyncio.timeout(BOUND):
        await request.left


both_modes = pytest.mark.parametrize("mode", ["stream", "whole"])


@both_modes
async def test_a_wrong_credential_is_an_authentication_error(
    start: StartCall, patient: Client, upstream: ScriptedUpstream, mode: str
) -> None:
    error = await failure(await start(patient, ASKED, mode=mode, api_key="sk-wrong"))
    assert (error["name"], error["status"], error["code"]) == ("AuthenticationError", 401, "invalid_api_key")
    assert not upstream.requests


@both_modes
async def test_a_wrong_request_is_a_bad_request_error(
    start: StartCall, patient: Client, upstream: ScriptedUpstream, mode: str
) -> None:
    error = await failure(await start(patient, {**ASKED, "messages": []}, mode=mode, max_retries=2))
    assert (error["name"], error["status"]) == ("BadRequestError", 400)
    assert "messages" in error["message"]


@both_modes
async def test_an_unknown_model_is_a_not_found_error(
    start: StartCall, patient: Client, upstream: ScriptedUpstream, mode: str
) -> None:
    error = await failure(await start(patient, {**ASKED, "model": "nobody"}, mode=mode))
    assert (error["name"], error["status"], error["code"]) == ("NotFoundError", 404, "model_not_found")


@both_modes
async def test_beyond_the_limit_is_a_rate_limit_error(
    start: StartCall, strict: Client, upstream: ScriptedUpstream, mode: str
) -> None:
    for _ in range(2):
        assert (await strict.chat()).status == 200
    error = await failure(await start(strict, ASKED, mode=mode))
    assert (error["name"], error["status"], error["code"]) == ("RateLimitError", 429, "rate_limit_exceeded")


@both_modes
async def test_a_failed_upstream_is_an_internal_server_error_tried_again(
    start: StartCall, patient: Client, upstream: ScriptedUpstream, mode: str
) -> None:
    """SDKs call every 5xx so; its code says that it was the upstream."""
    upstream.script(reply(500, error_of("planted")))
    error = await failure(await start(patient, ASKED, mode=mode))
    assert (error["name"], error["status"], error["code"]) == ("InternalServerError", 502, "upstream_error")
    assert "planted" not in error["message"]


@both_modes
async def test_an_sdk_that_obeys_retry_after_is_admitted(
    start: StartCall, brief: Client, upstream: ScriptedUpstream, mode: str
) -> None:
    """Refused once, it waits as told and is served: its user sees no error at all, the upstream no extra call."""
    assert (await brief.chat()).status == 200
    events = await everything(await start(brief, ASKED, mode=mode, max_retries=1))
    assert "error" not in events[-1]
    assert len(upstream.requests) == 2


BREAKS: dict[str, tuple[Step, ...]] = {
    "an error event": (event(error_of("planted")), done()),
    "an error event without end mark": (event(error_of("planted")),),
    "a cut": (raw(b'data: {"id":"x","cho'), fin()),
    "an end without a finish reason": (),
    "a line of 5 MB": (raw(b'data: {"x":"' + b"a" * 5_000_000 + b'"}\n\n'), stall()),
}


@pytest.mark.parametrize("script", BREAKS.values(), ids=BREAKS.keys())
async def test_a_broken_answer_is_an_api_error_after_what_was_said(
    start: StartCall, patient: Client, upstream: ScriptedUpstream, script: tuple[Step, ...]
) -> None:
    """Never a silent normal end (RELIABILITY 1.1), and never tried again behind the user's back."""
    seen = asyncio.Event()
    upstream.script(say("one"), gate(seen), *script)
    call = await start(patient, ASKED, max_retries=2)
    assert (await call.event())["chunk"]["choices"][0]["delta"]["content"] == "one"
    seen.set()
    error = await failure(call)
    assert error["name"] == "APIError"
    assert "planted" not in error["message"]
    assert len(upstream.requests) == 1


async def test_upstream_noise_is_not_seen(start: StartCall, patient: Client, upstream: ScriptedUpstream) -> None:
    """Ids followed by comments, retry fields, empty data, CRLF, a BOM: each broke an SDK in our measurements."""
    noise = raw(b"id: 1\r\n\r\n: ping\r\n\r\nretry: 3000\r\n\r\ndata:\r\n\r\nevent: heartbeat\r\ndata: \r\n\r\n\r\n")
    upstream.script(raw(b"\xef\xbb\xbf"), noise, say("one"), noise, say(" two"), noise, finish(), noise, done(), noise)
    assert text_of(await everything(await start(patient, ASKED))) == "one two"
