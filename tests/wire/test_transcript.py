"""The transcript says what was said, whatever an upstream mixes into its stream."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.wire.chat import Reading, ReportedUsage, Transcript
from streamproxy.wire.sse import DONE, frame


def chunk(delta: Any = None, *, finish: Any = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return frame(json.dumps({"id": "c", "choices": [choice], **fields}).encode())


def said(*frames: bytes) -> Reading:
    transcript = Transcript()
    for piece in frames:
        transcript.add(piece)
    return transcript.read()


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
HELLO = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo 你😀"}, usage=None),
    chunk(finish="stop"),
    frame(json.dumps({"id": "c", "choices": [], "usage": USAGE}).encode()),
    DONE,
]


def test_a_plain_answer() -> None:
    reading = said(*HELLO)
    assert reading.text == "Hello 你😀"
    assert reading.finish_reason == "stop"
    assert reading.usage == ReportedUsage(3, 2, 0)
    assert reading.chunks == 4
    assert reading.unreadable == 0
    assert reading.tool_calls == []
    assert reading.message() == {"role": "assistant", "content": "Hello 你😀"}


@given(st.lists(st.integers(0, len(HELLO)), max_size=4), st.booleans())
def test_how_the_events_are_batched_and_when_they_are_read_changes_nothing(cuts: list[int], eager: bool) -> None:
    bounds = [0, *sorted(cuts), len(HELLO)]
    transcript = Transcript()
    for start, end in pairwise(bounds):
        transcript.add(b"".join(HELLO[start:end]))
        assert not eager or "Hello 你😀".startswith(transcript.read().text)
    reading = transcript.read()
    assert (reading.text, reading.chunks, reading.unreadable) == ("Hello 你😀", 4, 0)
    assert reading.usage == ReportedUsage(3, 2, 0)


@pytest.mark.parametrize(
    "odd",
    [
        {"content": [{"type": "text", "text": "odd"}]},
        {"content": "odd", "refusal": "no"},
        {"content": "odd", "tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}}]},
        {"content": "odd", "tool_calls": None, "function_call": None, "reasoning_content": "hm"},
        {"content": 7},
        {"text": "odd"},
        None,
    ],
)
@pytest.mark.parametrize("place", [0, 7, 18, 19])
def test_an_odd_event_among_many_plain_ones_changes_nothing_about_the_others(odd: Any, place: int) -> None:
    """Many are read at once, and to the same end as one by one."""
    frames = [chunk({"content": f"{n} "}) for n in range(20)]
    frames[place] = chunk(odd, finish="length" if place == 19 else None)
    one_by_one = Transcript()
    for frame_ in frames:
        one_by_one.add(frame_)
        one_by_one.read()
    at_once = said(b"".join(frames))
    reading = one_by_one.read()
    for part in (lambda r: r.text, lambda r: r.chunks, lambda r: r.message(), lambda r: r.reasoning):
        assert part(at_once) == part(reading)
    assert at_once.finish_reason == reading.finish_reason == ("length" if place == 19 else None)


def test_an_answer_that_was_cut_keeps_what_was_said() -> None:
    reading = said(*HELLO[:2])
    assert reading.finish_reason is None
    assert reading.message() == {"role": "assistant", "content": "Hel"}


def test_nothing_said_is_no_message() -> None:
    for frames in ([], [HELLO[0]], [DONE], [chunk({"reasoning_content": "hm"})], [chunk(finish="stop")]):
        assert said(*frames).message() is None


def test_a_refusal_is_kept() -> None:
    reading = said(chunk({"refusal": "I "}), chunk({"refusal": "won't."}), chunk(finish="stop"))
    assert reading.refusal == "I won't."
    assert reading.message() == {"role": "assistant", "content": None, "refusal": "I won't."}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_readable_but_no_part_of_the_message(field: str) -> None:
    reading = said(chunk({field: "Let me "}), chunk({field: "see."}), chunk({"content": "42"}))
    assert reading.reasoning == "Let me see."
    assert reading.message() == {"role": "assistant", "content": "42"}


def test_content_in_parts_gives_its_text() -> None:
    """Mistral streams reasoning that way."""
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "A"}, {"text": "B"}, {"text": 1}, "x"]
    assert said(chunk({"content": parts}), chunk({"content": "C"})).text == "ABC"


def test_only_choice_0_counts() -> None:
    def choice(index: Any, content: str) -> dict[str, Any]:
        return {"index": index, "delta": {"content": content}, "finish_reason": "stop" if index else None}

    chunks = [
        [choice(1, "b")],
        [choice(1, "b"), choice(0, "a")],
        [choice(None, "a")],
        [choice("0", "c")],
    ]
    reading = said(*(frame(json.dumps({"choices": choices}).encode()) for choices in chunks))
    assert (reading.text, reading.finish_reason, reading.chunks) == ("aa", None, 4)


def test_the_last_usage_that_can_be_meant_wins() -> None:
    reading = said(
        chunk({"content": "a"}, usage={"prompt_tokens": 3, "completion_tokens": 1}),
        chunk({"content": "b"}, usage={"prompt_tokens": 3, "completion_tokens": 2}),
        chunk(usage={"prompt_tokens": -3, "completion_tokens": 2}),
        chunk(usage="many"),
        chunk(usage=None),
    )
    assert reading.usage == ReportedUsage(3, 2, 0)


CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
MERGED = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "北京"}'}}


def call_pieces(*arguments: str, index: int = 0) -> list[bytes]:
    return [chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}) for piece in arguments]


@given(st.lists(st.integers(0, 16), max_size=6))
def test_arguments_cut_anywhere_come_together(cuts: list[int]) -> None:
    text = '{"city": "北京"}'
    bounds = [0, *sorted(cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(bounds)]
    reading = said(chunk({"tool_calls": [CALL]}), *call_pieces(*pieces), chunk(finish="tool_calls"))
    assert reading.tool_calls == [MERGED]
    assert reading.message() == {"role": "assistant", "content": None, "tool_calls": [MERGED]}


@given(st.randoms(use_true_random=False))
def test_calls_that_alternate_keep_apart(random: Any) -> None:
    """Each call's pieces come in order, those of different calls in any."""
    pieces = {index: [f"{index}-{part}" for part in range(4)] for index in (0, 1, 2)}
    order = [index for index in pieces for _ in range(4)]
    random.shuffle(order)
    left = {index: iter(parts) for index, parts in pieces.items()}
    frames = [frame_ for index in order for frame_ in call_pieces(next(left[index]), index=index)]
    calls = said(*frames).tool_calls
    assert [call["function"]["arguments"] for call in calls] == ["".join(parts) for parts in pieces.values()]


def test_pieces_of_arguments_that_repeat_are_not_lost() -> None:
    assert said(*call_pieces("1", "1", "1")).tool_calls == [{"function": {"arguments": "111"}}]


def test_a_call_that_begins_without_index_and_id_goes_on() -> None:
    piece = {"function": {"name": "f", "arguments": "["}}
    frames = [chunk({"tool_calls": [call]}) for call in (piece, {"function": {"arguments": "]"}}, {**piece, "id": "b"})]
    assert [call["function"]["arguments"] for call in said(*frames).tool_calls] == ["[]", "["]


def test_a_name_in_pieces_comes_together_and_one_said_again_does_not_double() -> None:
    names = [chunk({"tool_calls": [{"index": 0, "function": {"name": name}}]}) for name in ("get_", "weather", "")]
    assert said(*names).tool_calls == [{"function": {"name": "get_weather"}}]
    assert said(*[chunk({"tool_calls": [CALL]})] * 3).tool_calls[0]["function"]["name"] == "weather"


def test_calls_without_index_begin_with_their_id() -> None:
    first, second = ({"id": f"call_{n}", "function": {"name": "f", "arguments": "["}} for n in (1, 2))
    more = {"function": {"arguments": "]"}}
    frames = [chunk({"tool_calls": [piece]}) for piece in (first, more, second, more)]
    assert said(*frames).tool_calls == [
        {"id": f"call_{n}", "function": {"name": "f", "arguments": "[]"}} for n in (1, 2)
    ]


def test_fields_of_a_call_that_nobody_knows_are_kept() -> None:
    """Gemini refuses the next turn without its thought signature."""
    extra = {"extra_content": {"google": {"thought_signature": "x"}}}
    custom = {"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "sql", "input": "SELECT "}}
    frames = [
        chunk({"tool_calls": [{**CALL, **extra}, custom]}),
        chunk({"tool_calls": [{"index": 1, "custom": {"input": "1"}}]}),
    ]
    assert said(*frames).tool_calls == [
        {**{k: v for k, v in CALL.items() if k != "index"}, **extra},
        {"id": "call_2", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}},
    ]


@pytest.mark.parametrize("finish", [None, "length", "content_filter"])
def test_calls_that_were_cut_are_no_part_of_the_message(finish: str | None) -> None:
    """A context with half a call is refused by every upstream."""
    frames = [chunk({"content": "I look."}), chunk({"tool_calls": [CALL]}), chunk(finish=finish)]
    assert said(*frames).message() == {"role": "assistant", "content": "I look."}
    assert said(*frames[1:]).message() is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'"x"',
        b"\xff",
        b'{"choices":7}',
        b'{"choices":[7]}',
        b'{"choices":[{"delta":"x"}]}',
        b"[" * 5000,
    ],
)
def test_an_event_that_is_no_chunk_is_counted_and_costs_no_other(data: bytes) -> None:
    reading = said(HELLO[1], frame(data), HELLO[2] + DONE)
    assert reading.text == "Hello 你😀"
    assert reading.unreadable == (1 if data else 0)


def test_an_error_event_is_a_chunk_that_says_nothing() -> None:
    reading = said(HELLO[1], frame(b'{"error":{"message":"x"}}'))
    assert (reading.text, reading.chunks, reading.unreadable) == ("Hel", 1, 0)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["index", "id", "function", "custom", "name", "arguments", "text"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)
deltas = st.dictionaries(st.sampled_from(["content", "refusal", "reasoning", "tool_calls"]), anything, max_size=3)


@given(st.lists(st.builds(chunk, deltas | anything, finish=anything, usage=anything), max_size=5))
def test_no_type_of_any_field_raises(frames: list[bytes]) -> None:
    for reading in (said(*frames), Transcript.of_completion(b"".join(frames)[6:]).read()):
        assert isinstance(reading.text + reading.refusal + reading.reasoning, str)
        assert reading.chunks + reading.unreadable <= len(frames) or not frames
        json.dumps([reading.tool_calls, reading.message()])


def test_a_whole_completion() -> None:
    message = {"role": "assistant", "content": "Hi", "refusal": None, "tool_calls": [{**MERGED, "id": i} for i in "ab"]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": USAGE}
    reading = Transcript.of_completion(json.dumps(body, indent=1).encode()).read()
    assert reading.text == "Hi"
    assert reading.usage == ReportedUsage(3, 2, 0)
    assert reading.chunks == 1
    assert reading.message() == {k: v for k, v in message.items() if v is not None}


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"choices":[{"mess', b'{"error":{}}', b"null"])
def test_a_body_that_is_no_completion_says_nothing(body: bytes) -> None:
    reading = Transcript.of_completion(body).read()
    assert reading.message() is None
    assert (reading.chunks, reading.usage) == (0, None)
