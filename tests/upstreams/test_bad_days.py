"""RELIABILITY U1 to U22 from all sides: answer, attempts, key, ledger, session, time.

What the client sees of each, byte for byte, is in tests/contract; keys in tests/keys; addresses in test_guard.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from dataclasses import dataclass

import pytest

from tests.support.http import DONE
from tests.support.steps import (
    Answer,
    Step,
    chunk_of,
    completion_of,
    done,
    drip,
    drop,
    error_of,
    event,
    fin,
    finish,
    gate,
    head,
    raw,
    reply,
    say,
    stall,
    usage,
    wire,
)
from tests.upstreams.conftest import QUESTION, Witness

CANARY = "canary-8c1d"
CHUNK = json.dumps(chunk_of({"content": "x"})).encode()
PACKED = gzip.compress(json.dumps(completion_of("x" * 5000)).encode())
STREAMED = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def closing(*steps: Step) -> Step:
    """The body of an answer whose head was written by hand: it ends with the connection."""

    async def step(answer: Answer) -> None:
        answer.started, answer.framing = True, "close"
        for part in steps:
            await part(answer)

    return step


@dataclass(frozen=True, slots=True)
class Day:
    """What an upstream does instead of an answer, and what is made of it. *codes*: which of them is a race's to say."""

    script: tuple[Step, ...]
    status: int
    codes: tuple[str, ...]
    another_key: bool
    state: str | None = None


LOST, NO_HTTP = ("upstream_disconnected",), ("upstream_malformed", "upstream_disconnected")
NOTHING = ("upstream_empty", "upstream_error")
RETRIED = {
    "U3 FIN before the head": Day((fin(),), 502, LOST, True),
    "U3 RST before the head": Day((drop(),), 502, LOST, True),
    "U3 RST inside the head": Day((wire(b"HTTP/1.1 200 OK\r\nConte"), drop()), 502, LOST, True),
    "U3 RST after the head": Day((head(), drop()), 502, LOST, True),
    "U3 FIN after the head": Day((head(), fin()), 502, LOST, True),
    "U6 broken gzip": Day((head(content_encoding="gzip"), raw(b"no gzip")), 502, NO_HTTP, True),
    "U6 cut gzip": Day(
        (head(content_encoding="gzip", framing="close"), raw(PACKED[:20]), fin()), 502, (*NOTHING, *LOST), True
    ),
    "U6 an unknown encoding": Day((head(content_encoding="br"), raw(b"xx")), 502, NO_HTTP, True),
    "U7 a garbage status line": Day((wire(b"NOT HTTP\r\n\r\n"),), 502, NO_HTTP, True),
    "U7 a bad chunk": Day((head(), wire(b"zzz\r\nboom\r\n")), 502, NO_HTTP, True),
    "U8 HTML": Day((reply(200, b"<html>", content_type="text/html"),), 502, NOTHING, True),
    "U8 nothing": Day((reply(200, b""),), 502, NOTHING, True),
    "U8 half JSON": Day((reply(200, b'{"choices":[{"mess'),), 502, NOTHING, True),
    "U8 an error": Day((reply(200, error_of(CANARY)),), 502, ("upstream_error",), True),
    "U9 429 for 7 s": Day(
        (reply(429, error_of(CANARY), retry_after="7"),), 429, ("upstream_rate_limited",), True, "cooling"
    ),
    "U9 429": Day((reply(429, error_of(CANARY)),), 429, ("upstream_rate_limited",), True, "cooling"),
    "U9 no quota": Day(
        (reply(429, error_of(CANARY, code="insufficient_quota")),), 502, ("upstream_quota",), True, "parked"
    ),
    "U10 a dead key": Day(
        (reply(401, error_of(CANARY, code="invalid_api_key")),), 502, ("upstream_key_refused",), True, "disabled"
    ),
    "U12 500": Day((reply(500, error_of(CANARY)),), 502, ("upstream_error",), True),
    "U12 503": Day((reply(503, error_of(CANARY)),), 502, ("upstream_overloaded",), True),
    "U12 529": Day((reply(529, error_of(CANARY)),), 502, ("upstream_overloaded",), True, "cooling"),
}
NOT_RETRIED = {
    "a bad request": Day(
        (reply(400, error_of("n must be 1", code="bad_n", kind="invalid_request_error")),), 400, ("bad_n",), False
    ),
    "U18 a redirect": Day(
        (reply(307, b"", location="http://169.254.169.254/latest/meta-data"),), 502, ("upstream_rejected",), False
    ),
}


@STREAMED
@pytest.mark.parametrize("day", RETRIED.values(), ids=RETRIED.keys())
async def test_a_failure_before_the_first_event_is_made_good_by_another_key(
    witness: Witness, day: Day, *, stream: bool
) -> None:
    """The client, the ledger and the session know of the good answer only; the key keeps its mark."""
    await witness.earn()
    witness.upstream.once(*day.script)
    outcome = await witness.ask(stream=stream)
    assert (outcome.reply.status, outcome.code) == (200, None)
    assert outcome.reply.head.get("X-Streamproxy-Attempts") == "2"
    # Where only the connection was lost, a fresh one may do for the same key: one time in as many as there are keys.
    assert (outcome.requests, outcome.keys) in ([(2, 1), (2, 2)] if LOST[0] in day.codes else [(2, 2)])
    assert list(outcome.states) == ([day.state] if day.state else [])
    assert outcome.row is not None
    assert (outcome.row["end_reason"], outcome.row["error_code"], outcome.row["attempts"]) == ("finish", None, 2)
    assert outcome.session == [QUESTION, QUESTION]


@STREAMED
@pytest.mark.parametrize("day", (RETRIED | NOT_RETRIED).values(), ids=(RETRIED | NOT_RETRIED).keys())
async def test_a_failure_of_everybody_is_one_honest_error(witness: Witness, day: Day, *, stream: bool) -> None:
    """At most three keys are asked, nothing is left in the session, nothing but our words comes out."""
    witness.upstream.script(*day.script)
    outcome = await witness.ask(stream=stream)
    assert outcome.reply.status == day.status
    assert outcome.code in day.codes
    assert CANARY.encode() not in outcome.reply.body
    assert outcome.requests <= (3 if day.another_key else 1)
    # One more connection to the same key is allowed where the pool's may have been stale.
    assert outcome.requests - outcome.keys <= 1
    assert set(outcome.states) == ({day.state} if day.state else set())
    assert outcome.row is not None
    assert outcome.row["end_reason"] == "upstream_error"
    assert outcome.row["error_code"] == outcome.code
    assert outcome.row["completion_tokens"] == 0
    # A connection that was reset before the request came through is an attempt that the upstream never saw.
    assert outcome.requests <= outcome.row["attempts"] <= 3
    assert outcome.session == []


SILENCES = {
    "before the head": (stall(),),
    "inside the head": (wire(b"HTTP/1.1 200 OK\r\nContent-"), stall()),
    "after the head": (head(), stall()),
}


@STREAMED
@pytest.mark.parametrize("script", SILENCES.values(), ids=SILENCES.keys())
async def test_silence_is_never_met_by_a_second_request(
    witness: Witness, script: tuple[Step, ...], *, stream: bool
) -> None:
    """U4: the first may be billed. A stream waits for its first event, a whole answer for all of its time."""
    await witness.earn()
    witness.upstream.once(*script)
    outcome = await witness.ask(stream=stream)
    assert outcome.reply.status == 504
    assert outcome.code == ("upstream_first_event_timeout" if stream else "upstream_total_timeout")
    assert (outcome.requests, outcome.session) == (1, [])
    assert not outcome.states
    assert outcome.row is not None
    assert outcome.row["error_code"] == outcome.code


def said(code: str | int, message: str = CANARY, kind: str = "server_error") -> Step:
    return event({"error": {"message": message, "type": kind, "code": code}})


AFTER: dict[str, tuple[tuple[Step, ...], tuple[str, ...], str | None]] = {
    "U3 FIN": ((fin(),), LOST, None),
    "U3 RST": ((drop(),), LOST, None),
    "U3 RST inside an event": ((raw(b"data: " + CHUNK[:30]), drop()), LOST, None),
    "U3 RST between CR and LF": ((raw(b"data: " + CHUNK + b"\r"), drop()), LOST, None),
    "U3 a clean end": ((), ("upstream_incomplete",), None),
    "U4 silence": ((stall(),), ("upstream_idle_timeout",), None),
    "U4 silence inside an event": ((raw(b"data: " + CHUNK[:30]), stall()), ("upstream_idle_timeout",), None),
    "U7 a bad chunk": ((wire(b"zzz\r\nboom\r\n"),), NO_HTTP, None),
    "U8 half JSON": ((raw(b"data: " + CHUNK[:30] + b"\n\n"), stall()), ("upstream_malformed",), None),
    "U8 HTML": ((raw(b"data: <html>\n\n"), stall()), ("upstream_malformed",), None),
    "U14 a line of 5 MB": ((raw(b"data: " + b"a" * 5_000_000), stall()), ("upstream_event_too_large",), None),
    "U9 too many": ((said("rate_limit_exceeded"), stall()), ("upstream_error_event",), "cooling"),
    "U9 too many, by number": ((said(429), stall()), ("upstream_error_event",), "cooling"),
    "U10 a dead key": ((said("invalid_api_key"), stall()), ("upstream_error_event",), "disabled"),
    "U12 an error": ((said("server_error"), stall()), ("upstream_error_event",), None),
    "the caller's fault": ((said("content_filter"), stall()), ("content_filter",), None),
}


@pytest.mark.parametrize(("script", "codes", "state"), AFTER.values(), ids=AFTER.keys())
async def test_after_the_first_event_there_is_no_second_try(
    witness: Witness, script: tuple[Step, ...], codes: tuple[str, ...], state: str | None
) -> None:
    """One error event and the end mark; what was said is billed, and kept for the next turn."""
    await witness.earn()
    begun = asyncio.Event()
    witness.upstream.once(say("Half an"), gate(begun), *script)
    outcome = await witness.ask(stream=True, begun=begun)
    assert outcome.reply.status == 200
    assert outcome.code in codes
    assert outcome.reply.frames()[-1] == DONE
    assert outcome.requests == 1
    assert list(outcome.states) == ([state] if state else [])
    assert outcome.row is not None
    assert (outcome.row["end_reason"], outcome.row["error_code"]) == ("upstream_error", outcome.code)
    assert outcome.row["completion_tokens"] > 0
    assert outcome.row["estimated"] == 1
    assert outcome.session == [QUESTION, "Half an"]


async def test_a_packed_stream_that_is_cut_is_no_whole_answer(witness: Witness) -> None:
    """U6, after the first event: a cut gzip body may end as cleanly as a whole one."""
    packer = zlib.compressobj(wbits=31)
    first = b"data: " + json.dumps(chunk_of({"content": "Half an"})).encode() + b"\n\n"
    packed = packer.compress(first) + packer.flush(zlib.Z_SYNC_FLUSH)
    witness.upstream.once(head(content_encoding="gzip", framing="close"), raw(packed), fin())
    outcome = await witness.ask(stream=True)
    assert outcome.reply.status == 200
    assert outcome.code in {"upstream_incomplete", *LOST, *NO_HTTP}
    assert outcome.reply.frames()[-1] == DONE
    assert (outcome.requests, outcome.session) == (1, [QUESTION, "Half an"])
    assert outcome.row is not None
    assert (outcome.row["end_reason"], outcome.row["error_code"]) == ("upstream_error", outcome.code)


NOISE = b"id: 7\r\nevent: admin\r\nretry: 1\r\n: ping\r\n\r\n: ping\r\rdata:\n\n"
ODD: dict[str, tuple[Step, ...]] = {
    "U15 a byte a packet": (drip(), say("All "), say("你好"), finish(), usage(7, 5), done()),
    "U17 ids, names, pauses and comments": (
        raw(NOISE),
        say("All "),
        raw(NOISE),
        say("你好"),
        finish(),
        usage(7, 5),
        done(),
    ),
    "U19 many cookies, a long field": (
        wire(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"),
        wire(b"Set-Cookie: a=b\r\n" * 1000 + b"Content-Security-Policy: " + b"x" * 9000 + b"\r\n\r\n"),
        closing(say("All "), say("你好"), finish(), usage(7, 5), done()),
    ),
}


@pytest.mark.parametrize("script", ODD.values(), ids=ODD.keys())
async def test_what_is_only_odd_is_a_good_answer(witness: Witness, script: tuple[Step, ...]) -> None:
    """Told, billed and remembered as any other, at the first attempt."""
    witness.upstream.once(*script)
    outcome = await witness.ask(stream=True)
    assert (outcome.reply.status, outcome.code, outcome.requests) == (200, None, 1)
    assert outcome.reply.text() == "All 你好"
    assert outcome.session == [QUESTION, "All 你好"]
    assert not outcome.states
    assert outcome.row is not None
    assert (outcome.row["end_reason"], outcome.row["completion_tokens"], outcome.row["attempts"]) == ("finish", 5, 1)


async def test_the_upstreams_words_on_the_callers_request_are_passed_on_in_the_stream_too(witness: Witness) -> None:
    secret = "sk-live-0123456789abcdefghij"
    witness.upstream.once(say("Half an"), said("content_filter", f"Filtered. {secret}"))
    error = (await witness.ask(stream=True)).reply.chunks()[-1]["error"]
    assert error["message"].startswith("Filtered.")
    assert secret not in error["message"]
