"""The UI message stream: what useChat reads, made of every kind of event we send."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.wire.aisdk import UiMessageStream
from tests.support.steps import chunk_of

STREAM = "st_0123456789abcdefghijkl"
DONE = b"data: [DONE]\n\n"
BEGINNING = [{"type": "start", "messageId": STREAM}, {"type": "start-step"}]


def frames(*chunks: dict[str, Any], first: int | None = None) -> bytes:
    """Events as we send them, with the ids of a resumable stream from number *first* on."""
    made = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    if first is not None:
        made = [f"id: {STREAM}.{number}\n".encode() + frame for number, frame in enumerate(made, first)]
    return b"".join(made)


def parts(rendered: bytes) -> list[Any]:
    """The values of all events; ``"[DONE]"`` for the end mark."""
    data = [line[6:] for line in rendered.split(b"\n") if line.startswith(b"data: ")]
    return ["[DONE]" if one == b"[DONE]" else json.loads(one) for one in data]


def text(content: str) -> dict[str, Any]:
    return chunk_of({"content": content})


def end(reason: str = "stop") -> dict[str, Any]:
    return chunk_of({}, finish_reason=reason)


def test_a_text_begins_grows_and_ends() -> None:
    rendered = UiMessageStream(STREAM).feed(
        frames(chunk_of({"role": "assistant", "content": ""}), text("Hel"), text("lo"), end()) + DONE
    )
    assert parts(rendered) == [
        *BEGINNING,
        {"type": "text-start", "id": "1"},
        {"type": "text-delta", "id": "1", "delta": "Hel"},
        {"type": "text-delta", "id": "1", "delta": "lo"},
        {"type": "text-end", "id": "1"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
        "[DONE]",
    ]


def test_thoughts_are_a_part_of_their_own_before_the_text() -> None:
    rendered = UiMessageStream(STREAM).feed(frames(chunk_of({"reasoning_content": "Hm."}), text("Yes."), end()) + DONE)
    kinds = [(part["type"], part.get("id")) for part in parts(rendered)[2:8]]
    assert kinds == [
        ("reasoning-start", "1"),
        ("reasoning-delta", "1"),
        ("reasoning-end", "1"),
        ("text-start", "2"),
        ("text-delta", "2"),
        ("text-end", "2"),
    ]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content-filter"),
        ("tool_calls", "tool-calls"),
        ("eos", "other"),
    ],
)
def test_finish_reasons_are_spelled_as_the_sdk_spells_them(theirs: str, ours: str) -> None:
    assert parts(UiMessageStream(STREAM).feed(frames(text("x"), end(theirs)) + DONE))[-2]["finishReason"] == ours


def test_an_answer_that_no_model_finished_was_aborted() -> None:
    """What a cancelled stream says at its end, with the receipt."""
    ended = b'id: %b.2\nevent: done\ndata: {"end_reason":"cancelled"}\n\n' % STREAM.encode()
    rendered = UiMessageStream(STREAM).feed(frames(text("x"), first=1) + ended)
    assert parts(rendered)[-3:] == [{"type": "finish-step"}, {"type": "abort", "reason": "cancelled"}, "[DONE]"]


@pytest.mark.parametrize(
    "broken",
    [
        b'data: {"error":{"message":"It broke.","type":"api_error","param":null,"code":"x"}}\n\n' + DONE,
        b'id: %b.2\nevent: failed\ndata: {"error":{"message":"It broke."}}\n\n' % STREAM.encode(),
    ],
)
def test_an_error_ends_the_stream_once(broken: bytes) -> None:
    rendered = UiMessageStream(STREAM).feed(frames(text("x"), first=1) + broken)
    assert parts(rendered)[-3:] == [
        {"type": "text-end", "id": "1"},
        {"type": "error", "errorText": "It broke."},
        "[DONE]",
    ]


def test_what_is_no_longer_held_is_an_error_and_no_shorter_answer() -> None:
    rendered = UiMessageStream(STREAM).feed(b'event: gap\ndata: {"first":1,"last":3}\n\n' + frames(text("x"), first=4))
    assert [part["type"] for part in parts(rendered)[2:-1]] == ["error"]


def called(arguments: Sequence[str]) -> list[dict[str, Any]]:
    begun = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": piece}} for piece in arguments]
    return [chunk_of({"tool_calls": [piece]}) for piece in [begun, *pieces]]


def test_a_tool_call_comes_whole_when_its_input_is_whole() -> None:
    rendered = UiMessageStream(STREAM).feed(frames(*called(['{"city":', '"Rome"}']), end("tool_calls")) + DONE)
    assert parts(rendered)[2] == {
        "type": "tool-input-available",
        "toolCallId": "call_1",
        "toolName": "weather",
        "input": {"city": "Rome"},
    }


@pytest.mark.parametrize(("arguments", "reason"), [(['{"city":'], "tool_calls"), (['{"city":"Rome"}'], "length")])
def test_a_tool_call_that_was_cut_is_not_to_be_made(arguments: list[str], reason: str) -> None:
    rendered = UiMessageStream(STREAM).feed(frames(*called(arguments), end(reason)) + DONE)
    assert parts(rendered)[2]["type"] == "tool-input-error"


def test_the_last_frame_of_an_event_says_where_to_resume() -> None:
    rendered = UiMessageStream(STREAM).feed(frames(text("x"), first=1))
    assert rendered.count(b"id: st_") == 1
    assert rendered.split(b"\n\n")[-2].startswith(f"id: {STREAM}.1\n".encode())


CHUNKS = [chunk_of({"reasoning": "Hm."}), text("one "), text("two "), text("three"), *called(['{"a":1}']), end()]


@given(seen=st.integers(0, len(CHUNKS)), cut=st.integers(0, 3000))
def test_what_was_seen_and_what_is_resumed_are_together_the_whole(seen: int, cut: int) -> None:
    """Whatever the position, and wherever the frames are cut on their way into the renderer."""
    sent = frames(*CHUNKS, first=1) + b"id: %b.%d\nevent: done\ndata: {}\n\n" % (STREAM.encode(), len(CHUNKS) + 1)
    whole = UiMessageStream(STREAM).feed(sent)
    resumed = UiMessageStream(STREAM, seen=seen)
    rest = resumed.feed(sent[:cut]) + resumed.feed(sent[cut:])
    shown = UiMessageStream(STREAM).feed(frames(*CHUNKS[:seen], first=1))
    assert shown + rest == whole


@pytest.mark.parametrize(
    "odd", [b"data: [1]\n\n", b"data: nonsense\n\n", b'data: {"choices":[null,{"delta":[]}]}\n\n', b"retry: 1000\n\n"]
)
def test_events_that_nobody_can_mean_show_nothing(odd: bytes) -> None:
    stream = UiMessageStream(STREAM)
    stream.feed(frames(text("x")))
    assert stream.feed(odd) == b""
