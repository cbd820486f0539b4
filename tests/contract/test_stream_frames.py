"""CONTRACTS A1.1 to A1.4, A1.6, A1.8: what a stream is made of, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from tests.support.http import DONE, Client, Connection, Head, Reply, chat, split_frames
from tests.support.steps import Answer, chunk_of, done, drip, event, finish, gate, raw, reply, say, stall
from tests.support.upstream import ScriptedUpstream

MIXED = "Grüße, 你好世界 👩‍👩‍👧 🚀 e\u0301"


async def test_a_stream_has_the_headers_that_keep_proxies_from_buffering_it(
    patient: Client, upstream: ScriptedUpstream
) -> None:
    """A1.1, whatever encodings the client would take."""
    reply = await patient.ask("POST", "/v1/chat/completions", chat(), accept_encoding="gzip, br, deflate")
    assert reply.status == 200
    assert reply.head.get("Content-Type") == "text/event-stream; charset=utf-8"
    assert reply.head.get("Cache-Control") == "no-cache, no-transform"
    assert reply.head.get("X-Accel-Buffering") == "no"
    assert reply.head.get("X-Request-Id")
    assert reply.head.get("X-Stream-Id")
    assert reply.head.get("Content-Encoding") is None
    assert reply.head.get("Content-Length") is None


async def test_request_and_stream_ids_are_never_given_twice(patient: Client, upstream: ScriptedUpstream) -> None:
    replies = [await patient.chat() for _ in range(3)]
    assert len({r.head.get("X-Request-Id") for r in replies}) == 3
    assert len({r.head.get("X-Stream-Id") for r in replies}) == 3


async def test_every_write_holds_whole_events_only(patient: Client, upstream: ScriptedUpstream) -> None:
    """A1.2: an upstream that cuts characters and events into single bytes shows in no write of ours."""
    upstream.script(drip(), say(MIXED), say("“zitiert”\n\n\u2028\u0085"), finish(), done())
    answer = await patient.chat()
    for piece in answer.pieces:
        split_frames(piece)
    assert answer.text() == MIXED + "“zitiert”\n\n\u2028\u0085"


async def test_the_first_event_is_relayed_while_the_upstream_is_still_busy(
    patient: Client, upstream: ScriptedUpstream
) -> None:
    """Nothing waits for the end, nor for a buffer to fill."""
    more = asyncio.Event()
    upstream.script(say("One"), gate(more), say("Two"), finish(), done())
    stream = await patient.open_chat()
    assert (await stream.head()).status == 200
    assert b"One" in await stream.frame()
    more.set()
    assert b"Two" in b"".join([frame async for frame in stream.frames()])


async def test_ids_event_names_retry_and_empty_data_of_the_upstream_are_dropped(
    patient: Client, upstream: ScriptedUpstream
) -> None:
    """A1.3: any of them breaks one SDK or another."""
    noise = b"id: 7\nevent: admin\nretry: 1\n\nretry: 1\n\nid: 8\n\ndata:\n\ndata: \n\ndata\n\nevent: ping\ndata:\n\n"
    upstream.script(
        raw(noise), say("a"), raw(noise), raw(b"id: 9\nevent: message\nretry: 2\n"), say("b"), finish(), done()
    )
    answer = await patient.chat()
    assert answer.text() == "ab"
    assert len(answer.chunks()) == 3


async def test_nothing_of_a_well_ended_stream_follows_its_end_mark(patient: Client, upstream: ScriptedUpstream) -> None:
    """A1.4, and the HTTP message ends too: a client that waits for its end is let go."""
    stream = await patient.open_chat()
    await stream.head()
    frames = [frame async for frame in stream.frames()]
    assert frames[-1] == DONE
    assert frames.count(DONE) == 1


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param([], id="no end mark"),
        pytest.param([done(), done()], id="two end marks"),
        pytest.param([done(), say("after"), done()], id="data after the end mark"),
        pytest.param([done(), raw(b"data: garbage\n\n")], id="garbage after the end mark"),
        pytest.param([raw(b"data: [DONE]\n")], id="an end mark without its blank line"),
        pytest.param([raw(b"data:[DONE]\r\n\r\n")], id="an end mark without a space"),
        pytest.param([done(), stall()], id="a connection left open"),
    ],
)
async def test_exactly_one_end_mark_comes_last(patient: Client, upstream: ScriptedUpstream, ending: list[Any]) -> None:
    """A1.4: added where the upstream forgot it, and what it says after it is not heard."""
    upstream.script(say("All"), finish(), *ending)
    answer = await patient.chat()
    assert answer.text() == "All"
    assert not any("error" in chunk for chunk in answer.chunks())


async def test_no_finish_reason_is_invented(patient: Client, upstream: ScriptedUpstream) -> None:
    """A1.4: an upstream that gives none is relayed with none."""
    upstream.script(say("Half"), done())
    chunks = (await patient.chat()).chunks()
    assert [c["choices"][0]["finish_reason"] for c in chunks if c.get("choices")] == [None]


async def test_all_chunks_of_a_completion_carry_one_id(patient: Client, upstream: ScriptedUpstream) -> None:
    """A1.6: also where the upstream gives each chunk its own."""
    upstream.script(say("a", id="x1"), say("b", id="x2"), say("c"), finish(id=""), done())
    ids = {chunk.get("id") for chunk in (await patient.chat()).chunks()}
    assert len(ids) == 1
    assert ids.pop()


async def test_two_completions_never_share_an_id(patient: Client, upstream: ScriptedUpstream) -> None:
    """A1.6: chatgpt@5 keys its memory by it; this upstream gives all its answers the same."""
    first, second = [(await patient.chat()).chunks()[0]["id"] for _ in range(2)]
    assert first != second


async def test_a_chunk_without_an_id_gets_one(patient: Client, upstream: ScriptedUpstream) -> None:
    bare = {k: v for k, v in chunk_of({"content": "a"}).items() if k != "id"}
    upstream.script(event(bare), event(bare), finish(), done())
    ids = {chunk.get("id") for chunk in (await patient.chat()).chunks()}
    assert len(ids) == 1
    assert ids.pop()


DELTAS: dict[str, dict[str, Any]] = {
    "reasoning_content": {"reasoning_content": "Let me think 🤔"},
    "reasoning": {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
    "refusal": {"refusal": "No."},
    "tool call begins": {
        "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]
    },
    "partial arguments": {"tool_calls": [{"index": 0, "function": {"arguments": '{"ci'}}]},
    "audio": {"audio": {"id": "a1", "data": "AAAA"}},
    "unknown": {"content": None, "something_new": {"deep": [1, 2.5, None, True, "\u2028"]}},
}


@pytest.mark.parametrize("delta", DELTAS.values(), ids=DELTAS.keys())
async def test_whatever_a_delta_holds_is_relayed_as_received(
    patient: Client, upstream: ScriptedUpstream, delta: dict[str, Any]
) -> None:
    """A1.6, for what is known and for what nobody knows yet."""
    upstream.script(event(chunk_of(delta)), finish("tool_calls"), done())
    first, last = (await patient.chat()).chunks()
    assert first["choices"][0]["delta"] == delta
    assert last["choices"][0]["finish_reason"] == "tool_calls"


async def test_unknown_fields_of_chunk_and_choice_are_relayed(patient: Client, upstream: ScriptedUpstream) -> None:
    """A1.6: log probabilities, several choices, big and small numbers included."""
    choices = [
        {"index": 1, "delta": {"content": "b"}, "finish_reason": None, "logprobs": {"content": [{"logprob": -1e-9}]}},
        {"index": 0, "delta": {"content": "a"}, "finish_reason": None, "native_finish_reason": "STOP"},
    ]
    extra: dict[str, Any] = {
        "system_fingerprint": "fp_1",
        "service_tier": "default",
        "provider": {"n": 2**63 + 1, "x": 0.1 + 0.2},
    }
    sent = chunk_of({}, choices=choices, **extra)
    upstream.script(event(sent), finish(), done())
    received = (await patient.chat()).chunks()[0]
    assert {k: v for k, v in received.items() if k != "id"} == {k: v for k, v in sent.items() if k != "id"}


async def test_unknown_fields_of_a_whole_answer_are_relayed(patient: Client, upstream: ScriptedUpstream) -> None:
    """The same promise for ``stream: false``; the body is JSON and has its length."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": MIXED, "new": 1},
        "finish_reason": "stop",
        "z": [],
    }
    sent = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "future": {"a": 1}}
    upstream.script(reply(200, sent))
    answer = await patient.chat(stream=False)
    assert answer.status == 200
    assert (answer.head.get("Content-Type") or "").startswith("application/json")
    assert {k: v for k, v in answer.json.items() if k != "id"} == {k: v for k, v in sent.items() if k != "id"}


@pytest.mark.parametrize("accept", ["application/json", "text/html", "*/*", "text/event-stream;q=0", "nonsense"])
async def test_a_stream_is_what_was_asked_for_whatever_accept_says(
    patient: Client, upstream: ScriptedUpstream, accept: str
) -> None:
    """A1.8: SDKs send ``Accept: application/json`` while streaming."""
    answer = await patient.ask("POST", "/v1/chat/completions", chat("Hello there"), accept=accept)
    assert answer.text() == "Hellothere"


async def test_json_is_what_was_asked_for_whatever_accept_says(patient: Client, upstream: ScriptedUpstream) -> None:
    """A1.8, the other way round; an absent ``stream`` means false."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
    answer = await patient.ask("POST", "/v1/chat/completions", body, accept="text/event-stream")
    assert answer.json["choices"][0]["message"]["content"] == "Hi"


async def test_nothing_is_ever_compressed(patient: Client, upstream: ScriptedUpstream) -> None:
    """A1.8, for JSON answers large enough to be worth it too."""
    body = chat("word " * 2000, stream=False)
    answer = await patient.ask("POST", "/v1/chat/completions", body, accept_encoding="gzip, br, zstd")
    assert answer.head.get("Content-Encoding") is None
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "word " * 2000


async def test_a_connection_serves_the_next_request_after_a_stream(patient: Client, upstream: ScriptedUpstream) -> None:
    """The end of a stream is the end of an HTTP message, not of the connection."""
    stream: Connection = await patient.open_chat("one")
    assert (await stream.reply()).text() == "one"
    await patient.send_on(stream, "POST", "/v1/chat/completions", chat("two"))
    assert (await stream.reply()).text() == "two"


@pytest.mark.parametrize("cancelled", [False, True], ids=["its own end", "cancelled"])
async def test_what_an_upstream_says_behind_the_end_is_in_no_later_answer(
    patient: Client, upstream: ScriptedUpstream, *, cancelled: bool
) -> None:
    """It goes on in the same body while the client has its next answer, on the same connection."""
    second_runs, said, rest = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def say_more(answer: Answer) -> None:
        with contextlib.suppress(ConnectionError):  # who has left is not told
            await say("late")(answer)
        said.set()

    upstream.once(say("One"), *(() if cancelled else (finish(), done())), gate(second_runs), say_more, stall())
    stream = await patient.open_chat()
    stream_id = (await stream.head()).get("X-Stream-Id")
    if cancelled:
        assert b"One" in await stream.frame()
        assert (await patient.ask("POST", f"/v1/streams/{stream_id}/cancel")).status < 300
    assert [frame async for frame in stream.frames()][-1] == DONE
    upstream.once(say("Two"), gate(rest), finish(), done())
    await patient.send_on(stream, "POST", "/v1/chat/completions", chat())
    assert (await stream.head()).status == 200
    first = await stream.frame()
    second_runs.set()
    await said.wait()
    rest.set()
    body = first + b"".join([frame async for frame in stream.frames()])
    assert b"late" not in body
    assert Reply(Head(200, ()), (body,)).text() == "Two"
