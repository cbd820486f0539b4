"""Upstreams that do not end, end twice, or tell odd things at their end (RELIABILITY U6, U13, U14, U16, U20, U22)."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

import pytest

from tests.support.http import DONE
from tests.support.steps import (
    Answer,
    Step,
    chunk_of,
    completion_of,
    done,
    drop,
    event,
    fin,
    finish,
    head,
    raw,
    reply,
    say,
    stall,
    tokens,
    usage,
)
from tests.upstreams.conftest import QUESTION, Witness

MIB = 1 << 20
BOMB_MIB = 200
# One event or one answer at its bound, a few copies of it, and what the allocator keeps: nowhere near the bomb.
ROOM = 80 * MIB


def forever(step: Step) -> Step:
    """The same again and again, until the proxy has left."""

    async def steps(answer: Answer) -> None:
        while not answer.request.left.done():
            await step(answer)
            await asyncio.sleep(0.02)

    return steps


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """200 MiB of one letter, packed into 200 kB."""
    packer = zlib.compressobj(wbits=31)
    return b"".join([*(packer.compress(b"a" * MIB) for _ in range(BOMB_MIB)), packer.flush()])


async def test_a_stream_without_end_ends_at_the_total_limit(witness: Witness) -> None:
    """U13: with an error, for it is not whole; what was said is kept and billed, and the upstream is left."""
    witness.upstream.once(forever(say("on and ")))
    outcome = await witness.ask(stream=True)
    assert outcome.code == "upstream_total_timeout"
    assert outcome.row is not None
    assert outcome.row["chunks"] > 10
    assert outcome.session[1].startswith("on and on and ")
    async with asyncio.timeout(5):
        await witness.upstream.requests[-1].left


@pytest.mark.parametrize("comment", [b": keep-alive\n\n", b":\n", b"\n", b"event: ping\n\n", b"data:\n\n"])
async def test_comments_are_no_answer(witness: Witness, comment: bytes) -> None:
    """U4: a gateway that keeps the line open for a dead model is a silent upstream, before the first event."""
    witness.upstream.once(forever(raw(comment)))
    outcome = await witness.ask(stream=True)
    assert (outcome.reply.status, outcome.code) == (504, "upstream_first_event_timeout")
    assert outcome.requests == 1


@pytest.mark.parametrize("comment", [b": keep-alive\n\n", b":\n", b"\n", b"event: ping\n\n", b"data:\n\n"])
async def test_comments_are_no_continuation(witness: Witness, comment: bytes) -> None:
    """And after it."""
    witness.upstream.once(say("Half an"), forever(raw(comment)))
    outcome = await witness.ask(stream=True)
    assert (outcome.reply.status, outcome.code) == (200, "upstream_idle_timeout")
    assert outcome.session == [QUESTION, "Half an"]


async def test_blank_lines_are_no_whole_answer(witness: Witness) -> None:
    """DeepSeek sends them while it is busy: they neither begin the answer nor prolong its time."""
    witness.upstream.once(head(content_type="application/json"), forever(raw(b"\n")))
    outcome = await witness.ask(stream=False)
    assert (outcome.reply.status, outcome.code) == (504, "upstream_total_timeout")


async def test_blank_lines_before_a_whole_answer_do_not_spoil_it(witness: Witness) -> None:
    body = json.dumps(completion_of("fine")).encode()
    witness.upstream.once(head(content_type="application/json"), raw(b"\n\n\n"), raw(body))
    outcome = await witness.ask(stream=False)
    assert outcome.reply.json["choices"][0]["message"]["content"] == "fine"
    assert outcome.session == [QUESTION, "fine"]


async def test_a_whole_answer_that_stops_in_the_middle_is_named_idle(witness: Witness) -> None:
    """U4, not streamed: sooner than the total limit."""
    witness.upstream.once(head(content_type="application/json"), raw(b'{"choices":[{"mess'), stall())
    outcome = await witness.ask(stream=False)
    assert (outcome.reply.status, outcome.code) == (504, "upstream_idle_timeout")
    assert (outcome.requests, outcome.session) == (1, [])


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_gzip_bomb_costs_no_memory(witness: Witness, bomb: bytes, *, stream: bool) -> None:
    """U6: unpacked piece by piece, and left at the bound."""
    await witness.ask(stream=stream)
    before = witness.peak()
    witness.upstream.script(head(content_encoding="gzip"), raw(bomb))
    outcome = await witness.ask(stream=stream)
    assert outcome.reply.status == 502
    assert outcome.code == ("upstream_event_too_large" if stream else "upstream_answer_too_large")
    assert witness.peak() - before < ROOM


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_line_of_a_hundred_megabytes_costs_no_memory(witness: Witness, *, stream: bool) -> None:
    """U14, before the first event."""
    await witness.ask(stream=stream)
    before = witness.peak()
    endless = tuple(raw(b"a" * MIB) for _ in range(100))
    witness.upstream.script(head(), raw(b"data: "), *endless, stall())
    outcome = await witness.ask(stream=stream)
    assert outcome.code == ("upstream_event_too_large" if stream else "upstream_answer_too_large")
    assert witness.peak() - before < ROOM


ENDS: dict[str, tuple[Step, ...]] = {
    "no end mark": (),
    "two end marks": (done(), done()),
    "data after the end mark": (done(), say(" and more"), finish(), done()),
    "an error after the end mark": (done(), event({"error": {"message": "x"}})),
    "rubbish after the end mark": (done(), raw(b"\xff\xfe<html>")),
    "silence after the end mark": (done(), stall()),
    "FIN for an end mark": (fin(),),
    "RST after the end mark": (done(), drop()),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
async def test_what_comes_after_the_end_changes_nothing(witness: Witness, end: tuple[Step, ...]) -> None:
    """U16, U22: one end mark, the answer whole in ledger and session, and no wait for whoever is silent."""
    witness.upstream.once(say("All of it"), finish(), usage(7, 5), *end)
    outcome = await witness.ask(stream=True)
    assert outcome.reply.text() == "All of it"
    assert outcome.reply.frames().count(DONE) == 1
    assert outcome.session == [QUESTION, "All of it"]
    assert outcome.row is not None
    assert (outcome.row["end_reason"], outcome.row["error_code"]) == ("finish", None)
    assert (outcome.row["prompt_tokens"], outcome.row["completion_tokens"]) == (7, 5)


TOLD: dict[str, tuple[list[Any], bool]] = {
    "missing": ([], True),
    "null": ([None], True),
    "twice": ([tokens(7, 5), tokens(7, 5)], False),
    "negative": ([tokens(-7, 5)], True),
    "beyond reason": ([tokens(7, 10**12)], True),
    "text": (["seven"], True),
    "negative after a good one": ([tokens(7, 5), tokens(-1, -1)], False),
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(("told", "estimated"), TOLD.values(), ids=TOLD.keys())
async def test_usage_that_cannot_be_meant_is_estimated(
    witness: Witness, told: list[Any], *, estimated: bool, stream: bool
) -> None:
    """U20: billed is what was reported if it makes sense, else what we counted, and neither twice."""
    if stream:
        chunks = [event(chunk_of({}, choices=[], usage=usage)) for usage in told]
        witness.upstream.once(say("Yes, here I am"), finish(), *chunks, done())
    else:
        witness.upstream.once(reply(200, completion_of("Yes, here I am", usage=told[0] if told else None)))
    outcome = await witness.ask(stream=stream, stream_options={"include_usage": True} if stream else None)
    row = outcome.row
    assert row is not None
    assert row["estimated"] == estimated
    assert (row["prompt_tokens"], row["completion_tokens"]) == (7, 5) or estimated
    assert 0 < row["completion_tokens"] < 100
    if stream:
        last = outcome.reply.chunks()[-1]["usage"]
        assert (last["prompt_tokens"], last["completion_tokens"]) == (row["prompt_tokens"], row["completion_tokens"])
