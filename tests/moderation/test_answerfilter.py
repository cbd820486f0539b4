"""The guard on a running answer, event by event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.domain.wordlist import WordList, parse_word_list
from streamproxy.services.answerfilter import AnswerFilter

FIELDS = ("content", "reasoning_content", "refusal")


def listed(*lines: str) -> WordList:
    words = parse_word_list("\n".join(lines))
    assert words is not None
    return words


def chunk(delta: dict[str, Any], *, index: int = 0, **choice: Any) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "choices": [{"index": index, "delta": delta, "finish_reason": None, **choice}],
    }


def frames(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks)


def chunks_of(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(frame[6:]) for frame in data.split(b"\n\n")[:-1]]


def passed(guard: AnswerFilter, batches: Sequence[bytes]) -> bytes:
    """What a client gets of these batches and the end."""

    async def run() -> bytes:
        out = b""
        for batch in batches:
            out += await guard.cut(batch)
            if guard.stopped:
                return out
        return out + await guard.rest()

    return asyncio.run(run())


def spoken(data: bytes, index: int = 0, field: str = "content") -> str:
    """What a client puts together."""
    deltas = [
        choice["delta"] for one in chunks_of(data) for choice in one["choices"] if choice.get("index", 0) == index
    ]
    return "".join(delta.get(field) or "" for delta in deltas)


@st.composite
def answers(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Chunks of up to two choices with up to three kinds of text, then their ends."""
    said = st.tuples(st.integers(0, 1), st.sampled_from(FIELDS), st.text("abc .", max_size=8))
    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({field: text}, index=index) for index, field, text in draw(st.lists(said, max_size=12))]
    used = sorted({one["choices"][0]["index"] for one in chunks})
    return [*chunks, *(chunk({}, index=index, finish_reason="stop") for index in used)]


WORDS = st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=3)


@given(st.data(), WORDS, answers())
def test_no_phrase_passes_and_nothing_else_is_lost_or_reordered(
    data: st.DataObject, lines: list[str], chunks: list[dict[str, Any]]
) -> None:
    words, guard = listed(*lines), AnswerFilter(listed(*lines))
    out = passed(guard, _batches(data, chunks))
    whole = frames(*chunks)
    places = {(index, field): words.first(spoken(whole, index, field)) for index in (0, 1) for field in FIELDS}
    for (index, field), place in places.items():
        seen, said = spoken(out, index, field), spoken(whole, index, field)
        assert words.first(seen) is None
        assert said.startswith(seen)
        assert place is not None or guard.stopped or seen == said
    assert guard.stopped == any(place is not None for place in places.values())
    assert _order(out) == _order(whole)[: len(_order(out))]
    if not guard.stopped:
        assert guard.unfinished() == []
        assert [one["choices"][0]["finish_reason"] for one in chunks_of(out)][-1] == "stop"


def _batches(data: st.DataObject, chunks: list[dict[str, Any]]) -> list[bytes]:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(chunks)), max_size=5)) | {0, len(chunks)})
    return [frames(*chunks[a:b]) for a, b in pairwise(cuts)]


def _order(data: bytes) -> list[tuple[int, str, str]]:
    """Each character with who said it where, in the order of the events."""
    return [
        (choice["index"], field, character)
        for one in chunks_of(data)
        for choice in one["choices"]
        for field in FIELDS
        for character in choice["delta"].get(field) or ""
    ]


@given(st.data(), st.text("ab ", max_size=40))
def test_no_more_waits_than_the_longest_pattern_has(data: st.DataObject, text: str) -> None:
    guard = AnswerFilter(listed("xxxx", "yy"))
    said = seen = ""

    async def run() -> None:
        nonlocal said, seen
        for batch in _batches(data, [chunk({"content": text[at : at + 3]}) for at in range(0, len(text), 3)]):
            said += spoken(batch)
            seen += spoken(await guard.cut(batch))
            assert said.startswith(seen)
            assert len(said) - len(seen) <= 4

    asyncio.run(run())


def test_what_is_safe_leaves_as_it_came() -> None:
    """Byte for byte, unknown fields and spellings included."""
    odd = b'data: {"x": 1.50, "choices": [ {"index":0,"delta":{"content":"\\u0068ello","new":[1]}} ]}\n\n'
    out = passed(AnswerFilter(listed("bomb")), [odd + frames(chunk({}, finish_reason="stop"))])
    assert out.startswith(odd)


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "a bomb"},
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '{"x":"bomb"}'}}]},
        {"function_call": {"name": "f", "arguments": "bomb"}},
        {"content": [{"type": "text", "text": "a bomb"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "bomb"}]},
        {"something_new": {"deep": ["bomb"]}},
    ],
)
def test_a_phrase_is_found_wherever_it_is_said(delta: dict[str, Any]) -> None:
    guard = AnswerFilter(listed("bomb"))
    assert b"bomb" not in passed(guard, [frames(chunk(delta))])
    assert guard.stopped


def test_the_pieces_of_two_calls_are_two_texts() -> None:
    pieces = [
        chunk({"tool_calls": [{"index": index, "function": {"arguments": text}}]})
        for index, text in ((0, "bo"), (1, "mb"), (1, "x"))
    ]
    guard = AnswerFilter(listed("bomb"))
    assert len(chunks_of(passed(guard, [frames(one) for one in pieces]))) >= 3
    assert not guard.stopped


def test_an_event_in_two_parts_says_everything_once() -> None:
    """Clients put the pieces of a call together: a name that comes twice would be another name."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"x":1}'}}
    first, second = chunks_of(
        passed(AnswerFilter(listed("bomb")), [frames(chunk({"role": "assistant", "tool_calls": [call]}))])
    )
    rest = {"index": 0, "type": "function", "function": {"arguments": '":1}'}}
    assert second["choices"][0]["delta"] == {"tool_calls": [rest]}
    assert first["choices"][0]["delta"]["tool_calls"][0] == {**call, "function": {"name": "find", "arguments": '{"x'}}


def test_log_probabilities_do_not_pass() -> None:
    """They repeat the answer, and name what it might have said."""
    probable = {"content": [{"token": "hi", "top_logprobs": [{"token": "bomb"}]}]}
    out = passed(AnswerFilter(listed("bomb")), [frames(chunk({"content": "hi"}, logprobs=probable))])
    assert spoken(out) == "hi"
    assert b"bomb" not in out


def test_reasoning_does_not_wait_for_the_end_of_the_answer() -> None:
    """Once the answer goes on with its content, what was thought is complete."""
    guard = AnswerFilter(listed("x" * 20))

    async def run() -> bytes:
        await guard.cut(frames(chunk({"reasoning_content": "thinking"})))
        return await guard.cut(frames(chunk({"content": "well"})))

    assert spoken(asyncio.run(run()), field="reasoning_content") == "thinking"


def test_a_choice_that_is_finished_waits_no_longer() -> None:
    guard = AnswerFilter(listed("x" * 20))

    async def run() -> bytes:
        return await guard.cut(frames(chunk({"content": "all"}), chunk({}, finish_reason="stop")))

    assert spoken(asyncio.run(run())) == "all"
    assert guard.unfinished() == []


def test_an_event_that_cannot_be_read_does_not_pass() -> None:
    out = passed(
        AnswerFilter(listed("bomb")), [b"data: {oops\n\n", b'data: ["bomb"]\n\n', frames(chunk({"content": "a"}))]
    )
    assert out == frames(chunk({"content": "a"}))


def test_every_open_choice_is_named_when_it_stops() -> None:
    guard = AnswerFilter(listed("bomb"))
    out = passed(
        guard,
        [
            frames(chunk({"content": "a"}), chunk({"content": "b"}, index=1), chunk({}, finish_reason="stop")),
            frames(chunk({"content": "bomb"}, index=1), chunk({"content": "never"}, index=2)),
        ],
    )
    assert guard.stopped
    assert guard.unfinished() == [1, 2]
    assert spoken(out, 1) == "b"
