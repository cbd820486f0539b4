"""CONTRACTS A1.4, A1.5, A2: what a client sees of an upstream on a bad day (RELIABILITY U1 to U22)."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from tests.contract.shapes import CANARY, assert_error, assert_error_event
from tests.support.http import DONE, Client
from tests.support.proxy import ProxyProcess
from tests.support.steps import (
    Step,
    chunk_of,
    done,
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
    wire,
)
from tests.support.upstream import ScriptedUpstream

CHUNK = json.dumps(chunk_of({"content": "x"})).encode()
Script = tuple[Step, ...]

# What comes before the first event can still become a status; both kinds of call must get it.
NO_ANSWER: dict[str, Script] = {
    "a 200 with HTML": (reply(200, f"<html>{CANARY}</html>".encode(), content_type="text/html"),),
    "a 200 with a JSON error": (reply(200, error_of(CANARY)),),
    "a 200 with something like an error": (reply(200, {"detail": CANARY}),),
    "an empty 200": (reply(200, b""),),
    "an empty 200 that says event-stream": (head(),),
    "truncated JSON": (reply(200, b'{"id":"x","choices":[{"message":{"content":"half'),),
    "JSON that is no object": (reply(200, [1, 2, 3]),),
    "a body shorter than its length": (
        head(content_type="application/json", framing="length", content_length="90"),
        fin(),
    ),
    "500": (reply(500, error_of(CANARY)),),
    "503 with HTML": (reply(503, f"<h1>{CANARY}</h1>".encode(), content_type="text/html"),),
    "529": (reply(529, {"type": "error", "error": {"type": "overloaded_error", "message": CANARY}}),),
    "500 with a detail body": (reply(500, {"detail": CANARY}),),
    "a redirect": (reply(307, b"", location="http://169.254.169.254/latest/meta-data"),),
    "FIN before the head": (fin(),),
    "RST before the head": (drop(),),
    "RST after the head": (head(), drop()),
    "a garbage status line": (wire(b"NOT HTTP AT ALL\r\n\r\n"),),
    "a status that is no number": (wire(b"HTTP/1.1 abc OK\r\n\r\n"),),
    "a broken chunk": (head(), wire(b"zzz\r\nboom\r\n")),
    "an unknown encoding": (head(content_encoding="br"), raw(b"\x8b\x02\x80hello")),
    "broken gzip": (head(content_encoding="gzip"), raw(b"this is not gzip")),
    "a reset inside the head": (wire(b"HTTP/1.1 200 OK\r\nContent-Ty"), drop()),
}
# What only a stream can do wrong before its first event.
NO_STREAM: dict[str, Script] = {
    "an error as first event": (event(error_of(CANARY)), done()),
    "an error as first event, unfinished": (event(error_of(CANARY)), stall()),
    "only the end mark": (done(),),
    "only comments": (raw(b": ping\n\n: ping\n\n"),),
    "only empty data": (raw(b"data:\n\ndata: \n\n"), done()),
    "half an event": (raw(b'data: {"choices":[{"de'),),
    "half an event, then RST": (raw(b'data: {"choices":[{"de'), drop()),
    "an event that is not JSON": (raw(b"data: <html>\n\n"), done()),
    "a line of 5 MB": (raw(b'data: {"x":"' + b"a" * 5_000_000 + b'"}\n\n'), stall()),
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("script", NO_ANSWER.values(), ids=NO_ANSWER.keys())
async def test_no_answer_at_all_is_a_502_with_our_own_words(
    patient: Client, upstream: ScriptedUpstream, script: Script, *, stream: bool
) -> None:
    """A1.5: before the first upstream event every failure is JSON with a status."""
    upstream.script(*script)
    answer = await patient.chat(stream=stream)
    assert_error(answer, 502)


@pytest.mark.parametrize("script", NO_STREAM.values(), ids=NO_STREAM.keys())
async def test_a_stream_without_a_first_event_is_a_502(
    patient: Client, upstream: ScriptedUpstream, script: Script
) -> None:
    upstream.script(*script)
    assert_error(await patient.chat(), 502)


async def test_a_whole_answer_that_is_cut_is_a_502(patient: Client, upstream: ScriptedUpstream) -> None:
    """A close-delimited body ends cleanly wherever it is cut: only its JSON shows the cut."""
    upstream.script(head(framing="close", content_type="application/json"), raw(b'{"choices":[{"mess'), fin())
    assert_error(await patient.chat(stream=False), 502)


@pytest.mark.parametrize("rest", [b'"x": "\xff"', b'"x": -1e999', b'"x": ' + b"[" * 10_000 + b"]" * 10_000])
async def test_a_whole_answer_that_cannot_be_read_to_its_end_is_a_502(
    patient: Client, upstream: ScriptedUpstream, rest: bytes
) -> None:
    """Whoever reads it later, for a filter or another format, would fail when it is paid for."""
    upstream.script(reply(200, b'{"choices": [{"message": {"content": "a"}}], %b}' % rest))
    assert_error(await patient.chat(stream=False), 502)


async def test_a_truncated_gzip_answer_is_a_502(patient: Client, upstream: ScriptedUpstream) -> None:
    body = gzip.compress(json.dumps({"choices": [{"message": {"content": "x" * 5000}}]}).encode())
    script = head(framing="close", content_type="application/json", content_encoding="gzip")
    upstream.script(script, raw(body[: len(body) // 2]), fin())
    assert_error(await patient.chat(stream=False), 502)


async def test_an_upstream_that_refuses_connections_is_a_502(stranded: Client) -> None:
    """U1, streamed and not."""
    assert_error(await stranded.chat(), 502)
    assert_error(await stranded.chat(stream=False), 502)


async def test_a_redirect_is_not_followed(patient: Client, upstream: ScriptedUpstream) -> None:
    """U18: a redirected POST would carry the conversation to a host of somebody else's choice."""
    upstream.once(reply(307, b"", location="/v1/elsewhere/chat/completions"))
    upstream.script(reply(500, error_of("x")))
    assert_error(await patient.chat(), 502)
    assert {request.path for request in upstream.requests} == {"/v1/chat/completions"}


@pytest.mark.parametrize("retry_after", ["7", "Wed, 21 Oct 2065 07:28:00 GMT", None, "soon", "1000000000", "-5"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_an_upstream_out_of_rate_says_when_to_come_back(
    patient: Client, upstream: ScriptedUpstream, retry_after: str | None, *, stream: bool
) -> None:
    """U9: ours is an integer in every case, whatever the upstream's was."""
    headers = {"retry_after": retry_after} if retry_after is not None else {}
    upstream.script(reply(429, error_of(CANARY, code="rate_limit_exceeded"), **headers))
    answer = await patient.chat(stream=stream)
    assert_error(answer, 429, 503)
    assert int(answer.head.get("Retry-After") or "missing") > 0


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_trouble_with_our_own_keys_is_never_a_401(
    patient: Client, patient_proxy: ProxyProcess, upstream: ScriptedUpstream, status: int, *, stream: bool
) -> None:
    """A2, U10: 401 is for the caller's credential; the provider's text with our key in it stays here."""
    script = reply(
        status, error_of(f"Incorrect API key provided: {patient_proxy.keys[0]} {CANARY}", code="invalid_api_key")
    )
    upstream.script(script)
    answer = await patient.chat(stream=stream)
    assert_error(answer, 502, 503)
    assert b"sk-planted" not in answer.body
    assert answer.head.get("WWW-Authenticate") is None


@pytest.mark.parametrize(("status", "code"), [(400, "unsupported_parameter"), (404, "model_not_found"), (422, None)])
async def test_what_the_upstream_says_is_the_callers_fault_keeps_its_status(
    patient: Client, upstream: ScriptedUpstream, status: int, code: str | None
) -> None:
    """A retry cannot help, nor another key: asked once, and told why, without what looks like a secret."""
    why = "max_tokens is too large for key sk-live-0123456789abcdefghij"
    upstream.script(reply(status, error_of(why, code=code, kind="invalid_request_error")))
    answer = await patient.chat()
    assert assert_error(answer, status)["message"].startswith("max_tokens is too large for key")
    assert b"0123456789" not in answer.body
    assert answer.head.get("X-Should-Retry") == "false"
    assert len(upstream.requests) == 1


async def test_a_first_failure_is_not_seen_when_another_key_answers(
    patient: Client, upstream: ScriptedUpstream
) -> None:
    """DESIGN 6: failover happens before the first relayed event, with another key."""
    # The tests before may have used up the retries of this proxy: a fifth of the requests may be asked again.
    for _ in range(6):
        await patient.chat("before")
    upstream.requests.clear()
    upstream.once(reply(500, error_of(CANARY)))
    answer = await patient.chat("fine")
    assert answer.text() == "fine"
    assert len({request.header("Authorization") for request in upstream.requests}) == 2


# After the first event: the error event, and the end mark, and no invented ending.
CUTS: dict[str, Script] = {
    "an error event": (event(error_of(CANARY)),),
    "an error event and the end mark": (event(error_of(CANARY)), done()),
    "an error event and more": (event(error_of(CANARY)), say("more"), finish(), done()),
    "a named error event": (raw(b"event: error\n"), event(error_of(CANARY))),
    "an error that is a string": (event({"error": CANARY}),),
    "FIN inside an event": (raw(b"data: " + CHUNK[:40]), fin()),
    "RST inside an event": (raw(b"data: " + CHUNK[:40]), drop()),
    "FIN between events": (fin(),),
    "RST between events": (drop(),),
    "RST between CR and LF": (raw(b"data: " + CHUNK + b"\r"), drop()),
    "a clean HTTP ending": (),
    "a clean HTTP ending inside an event": (raw(b"data: " + CHUNK[:40]),),
    "a broken chunk": (wire(b"zzz\r\nboom\r\n"),),
    "half JSON": (raw(b"data: " + CHUNK[:40] + b"\n\n"), say("after"), finish(), done()),
    "HTML inside": (raw(b"data: <html>502</html>\n\n"), say("after"), finish(), done()),
    "a line of 5 MB": (raw(b'data: {"x":"' + b"a" * 5_000_000 + b'"}\n\n'), say("after"), finish(), done()),
    "5 MB without a line end": (raw(b"a" * 5_000_000), stall()),
    "5 MB of data lines in one event": (
        raw(b"data: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" * 100_000),
        stall(),
    ),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
async def test_a_broken_stream_ends_with_one_error_event_and_the_end_mark(
    patient: Client, upstream: ScriptedUpstream, cut: Script
) -> None:
    """A1.4: every SDK raises on it, so a broken answer is never taken for a whole one."""
    seen = asyncio.Event()
    upstream.script(say("Half an"), gate(seen), *cut)
    stream = await patient.open_chat()
    assert (await stream.head()).status == 200
    frames = [await stream.frame()]
    seen.set()
    frames += [frame async for frame in stream.frames()]
    assert b"Half an" in frames[0]
    assert frames[-1] == DONE
    assert frames.count(DONE) == 1
    assert_error_event(frames[-2])
    values = [json.loads(frame[6:]) for frame in frames[:-1]]
    assert sum("error" in value for value in values) == 1
    assert not any(c.get("finish_reason") for v in values for c in v.get("choices") or ())


async def test_a_close_delimited_stream_that_is_cut_is_an_error(patient: Client, upstream: ScriptedUpstream) -> None:
    """Its end is clean wherever it is cut: only the missing finish reason and end mark show it."""
    upstream.script(head(framing="close"), say("Half an"), fin())
    frames = (await patient.chat()).frames()
    assert_error_event(frames[-2])
    assert frames[-1] == DONE


@pytest.mark.parametrize("cut", [fin(), drop()], ids=["FIN", "RST"])
async def test_a_cut_after_the_finish_reason_is_a_whole_answer(
    patient: Client, upstream: ScriptedUpstream, cut: Step
) -> None:
    """U22: the upstream said that it has finished; what it owed was the end mark."""
    seen = asyncio.Event()
    upstream.script(say("All"), finish(), gate(seen), cut)
    stream = await patient.open_chat()
    await stream.head()
    frames = []
    async for frame in stream.frames():
        frames.append(frame)
        if b'"stop"' in frame:
            seen.set()
    assert frames[-1] == DONE
    assert not any(b'"error"' in frame for frame in frames)


@pytest.mark.parametrize("payload", [b"42", b"null", b'"text"', b"[]", b"{}"])
async def test_an_event_that_is_no_chunk_never_breaks_a_client(
    patient: Client, upstream: ScriptedUpstream, payload: bytes
) -> None:
    """Clients read ``chunk.choices`` of every event: what has none, and is no error, must not arrive."""
    upstream.script(say("a"), raw(b"data: " + payload + b"\n\n"), say("b"), finish(), done())
    chunks = (await patient.chat()).chunks()
    assert all(isinstance(chunk, dict) and ("choices" in chunk or "error" in chunk) for chunk in chunks)


async def test_a_line_without_end_costs_no_memory(
    patient: Client, patient_proxy: ProxyProcess, upstream: ScriptedUpstream
) -> None:
    """U14: the upstream is closed at the bound (1 MiB) instead of being read for ever."""
    before = _resident(patient_proxy)
    endless = tuple(raw(b"a" * 1_000_000) for _ in range(100))
    upstream.script(say("x"), raw(b"data: "), *endless, stall())
    frames = (await patient.chat()).frames()
    assert_error_event(frames[-2])
    request = await upstream.request()
    async with asyncio.timeout(5):
        await request.left
    assert _resident(patient_proxy) - before < 24_000_000


def _resident(proxy: ProxyProcess) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in proxy.pids())


SILENCES: dict[str, Script] = {
    "before the head": (stall(),),
    "inside the head": (wire(b"HTTP/1.1 200 OK\r\nContent-"), stall()),
    "after the head": (head(), stall()),
    "inside the first event": (raw(b"data: " + CHUNK[:20]), stall()),
    "after a comment": (raw(b": hold on\n\n"), stall()),
}


@pytest.mark.parametrize("script", SILENCES.values(), ids=SILENCES.keys())
async def test_an_upstream_that_never_begins_is_a_504(
    hasty: Client, upstream: ScriptedUpstream, script: Script
) -> None:
    """U4: the wait is bounded, and the request that was sent is not sent again: it may be billed."""
    upstream.script(*script)
    assert_error(await hasty.chat(), 504)
    assert len(upstream.requests) == 1
    async with asyncio.timeout(5):
        await upstream.requests[0].left


async def test_a_whole_answer_that_never_comes_is_a_504(hasty: Client, upstream: ScriptedUpstream) -> None:
    upstream.script(stall())
    assert_error(await hasty.chat(stream=False), 504)


async def test_an_upstream_that_stops_in_the_middle_ends_with_an_error_event(
    hasty: Client, upstream: ScriptedUpstream
) -> None:
    """U4 after the first event: the idle limit, the error event, the end mark, and the upstream closed."""
    upstream.script(say("Half an"), stall())
    frames = (await hasty.chat()).frames()
    assert_error_event(frames[-2])
    assert frames[-1] == DONE
    async with asyncio.timeout(5):
        await (await upstream.request()).left


async def test_a_single_dead_key_is_a_503_until_it_lives_again(
    lone: Client, lone_proxy: ProxyProcess, upstream: ScriptedUpstream
) -> None:
    """A2: an empty pool is a clear 503, not charged to the upstream; no key and no text of it comes out."""
    upstream.script(
        reply(401, error_of(f"Incorrect API key provided: sk-planted-lone {CANARY}", code="invalid_api_key"))
    )
    assert_error(await lone.chat(), 502, 503)
    asked = len(upstream.requests)
    second = await lone.chat()
    assert_error(second, 503)
    assert len(upstream.requests) == asked
    assert b"sk-planted" not in second.body
    assert CANARY not in lone_proxy.log()
    assert "sk-planted-lone-1f2e" not in lone_proxy.log()


async def test_no_planted_secret_is_in_the_log(
    patient_proxy: ProxyProcess, patient: Client, upstream: ScriptedUpstream
) -> None:
    """A2: neither the upstream's words, nor a key, nor a bearer, nor what was said."""
    secret = f"{CANARY} sk-live-0123456789abcdefghij Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    events = [event(error_of(secret)), raw(f"data: {secret}\n\n".encode())]
    wholes = [reply(500, error_of(secret)), reply(200, secret.encode()), reply(400, error_of(secret))]
    for script in (*((step,) for step in [*wholes, *events]), *((say("x"), step) for step in events)):
        upstream.script(*script)
        await patient.chat(f"spoken-{CANARY}")
    log = patient_proxy.log()
    # How the two parts of a token begin: of three letters alone some random id is bound to have them.
    tokens = ("eyJhbGciOi", "eyJzdWIiOi")
    found: list[Any] = [
        word for word in (CANARY, "sk-live-", *tokens, "sk-planted", patient.bearer) if word and word in log
    ]
    assert not found, f"the log holds {found}"
