"""CONTRACTS A1.3, A1.5: silence. Tests drive it by gates that open when enough heartbeats were seen."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import pytest
from tornado.ioloop import IOLoop

from tests.support.http import DONE, HEARTBEAT, Client, Connection, split_frames
from tests.support.proxies import StartProxy
from tests.support.proxy import ProxyProcess
from tests.support.steps import Step, chunk_of, done, error_of, event, finish, gate, raw, reply, say
from tests.support.upstream import ScriptedUpstream

# A stream of the brisk proxy is opened after 0.2 s and beats every 0.2 s: a busy machine may take some time more, and a
# proxy that waits for something else takes longer.
BOUND = 15


async def beats(stream: Connection, count: int, within: float = BOUND) -> None:
    """Read *count* heartbeats; anything else in between is a fault."""
    async with asyncio.timeout(within):
        for _ in range(count):
            piece = await stream.piece()
            assert piece == HEARTBEAT, f"expected a heartbeat, got {piece[:200]!r}"


async def stream_rest(stream: Connection) -> list[bytes]:
    """All frames to the end of the stream."""
    return [frame async for frame in stream.frames()]


async def test_silence_before_the_first_token_is_filled_with_heartbeats(
    brisk: Client, upstream: ScriptedUpstream
) -> None:
    """A1.3 and A1.5: after the silence limit the stream is opened, and each beat is ``:\\n`` and no more."""
    answer = asyncio.Event()
    upstream.script(gate(answer), say("Finally"), finish(), done())
    stream = await brisk.open_chat()
    async with asyncio.timeout(BOUND):
        head = await stream.head()
    assert head.status == 200
    assert head.get("Content-Type") == "text/event-stream; charset=utf-8"
    await beats(stream, 4)
    answer.set()
    rest = await stream_rest(stream)
    assert b"Finally" in rest[0]
    assert rest[-1] == DONE


async def test_silence_in_the_middle_is_filled_with_heartbeats(brisk: Client, upstream: ScriptedUpstream) -> None:
    go_on = asyncio.Event()
    upstream.script(say("One"), gate(go_on), say("Two"), finish(), done())
    stream = await brisk.open_chat()
    await stream.head()
    assert b"One" in await stream.frame()
    await beats(stream, 4)
    go_on.set()
    rest = await stream_rest(stream)
    assert b"Two" in rest[0]
    assert rest.count(DONE) == 1


async def test_heartbeats_that_come_before_a_stream_would_be_opened_come_in_time(
    io_loop: IOLoop, start_proxy: StartProxy, upstream: ScriptedUpstream
) -> None:
    """Once an event has opened it: the time of the settings for silence holds, not that for the opening."""
    proxy = start_proxy(STREAMS__HEARTBEAT_SECONDS="0.2", STREAMS__OPEN_AFTER_SECONDS="60")
    go_on = asyncio.Event()
    upstream.script(say("One"), gate(go_on), finish(), done())
    with closing(Client(proxy.port, proxy.bearer("tester"))) as client:
        stream = await client.open_chat()
        await stream.head()
        assert b"One" in await stream.frame()
        await beats(stream, 4)
        go_on.set()
        assert (await stream_rest(stream))[-1] == DONE


@pytest.mark.parametrize("cut", ["inside a character", "inside the JSON", "between CR and LF", "before the blank line"])
async def test_a_heartbeat_never_lands_inside_an_event(brisk: Client, upstream: ScriptedUpstream, cut: str) -> None:
    """A1.2: whatever half of an event is waiting here, beats stand between whole events only."""
    frame = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"\xe4\xbd\xa0"}}]}\r\n\r\n'
    at = {
        "inside a character": frame.index(b"\xe4") + 1,
        "inside the JSON": frame.index(b"delta"),
        "between CR and LF": frame.index(b"\r\n") + 1,
        "before the blank line": frame.index(b"\r\n") + 2,
    }[cut]
    go_on = asyncio.Event()
    upstream.script(say("One"), raw(frame[:at]), gate(go_on), raw(frame[at:]), finish(), done())
    stream = await brisk.open_chat()
    await stream.head()
    assert b"One" in await stream.frame()
    await beats(stream, 3)
    go_on.set()
    rest = await stream_rest(stream)
    assert "你".encode() in rest[0]
    assert rest[-1] == DONE


async def test_comments_of_the_upstream_are_not_relayed_as_heartbeats(
    brisk: Client, upstream: ScriptedUpstream
) -> None:
    """A1.3: OpenRouter's ``: OPENROUTER PROCESSING`` and its blank lines stop here."""
    go_on = asyncio.Event()
    noise = raw(b": OPENROUTER PROCESSING\n\n: ping\n\n\n\n:\n\n")
    upstream.script(noise, gate(go_on), noise, say("One"), noise, finish(), noise, done())
    stream = await brisk.open_chat()
    await stream.head()
    await beats(stream, 3)
    go_on.set()
    rest = [frame for frame in await stream_rest(stream) if frame != HEARTBEAT]
    assert len(rest) == 3


async def test_an_answer_that_is_not_streamed_has_no_heartbeats(brisk: Client, upstream: ScriptedUpstream) -> None:
    """Silence of a ``stream: false`` call lasts as long as that of a stream that was seen to beat beside it."""
    whole, streamed = asyncio.Event(), asyncio.Event()
    upstream.once(gate(whole), reply(200, {"object": "chat.completion", "choices": [{"message": {"content": "x"}}]}))
    upstream.once(gate(streamed), say("y"), finish(), done())
    silent = await brisk.open_chat(stream=False)
    await upstream.request()
    beside = await brisk.open_chat()
    await beside.head()
    await beats(beside, 4)
    whole.set()
    answer = await silent.reply()
    assert (answer.status, answer.json["choices"][0]["message"]["content"]) == (200, "x")
    streamed.set()
    assert (await stream_rest(beside))[-1] == DONE


LATE_FAILURES: dict[str, Step] = {
    "500": reply(500, error_of("planted-canary")),
    "429": reply(429, error_of("planted-canary", code="rate_limit_exceeded"), retry_after="7"),
    "400": reply(400, error_of("too long for sk-planted-canary-0123456789", kind="invalid_request_error")),
    "401": reply(401, error_of("planted-canary", code="invalid_api_key")),
    "HTML": reply(200, b"<html>planted-canary</html>", content_type="text/html"),
    "an error event": event(error_of("planted-canary")),
    "an empty stream": done(),
}


@pytest.mark.parametrize("failure", LATE_FAILURES.values(), ids=LATE_FAILURES.keys())
async def test_a_failure_after_the_stream_was_opened_is_an_error_event_and_the_end_mark(
    brisk: Client, upstream: ScriptedUpstream, failure: Step
) -> None:
    """A1.4 and A1.5: a status is no longer possible, so every SDK must find its error in the stream."""
    fail = asyncio.Event()
    upstream.script(gate(fail), failure)
    stream = await brisk.open_chat()
    assert (await stream.head()).status == 200
    await beats(stream, 2)
    fail.set()
    frames = [frame for frame in await stream_rest(stream) if frame != HEARTBEAT]
    assert len(frames) == 2
    assert frames[0].startswith(b'data: {"error":')
    assert frames[1] == DONE
    assert b"planted-canary" not in frames[0]


@pytest.mark.gen_test(timeout=150)
async def test_with_default_settings_seventy_seconds_of_silence_break_nothing(
    patient: Client, upstream: ScriptedUpstream
) -> None:
    """Before the first token and in the middle, both at once: seven beats, 10 s apart, and the answer goes on.

    The one test that takes its time: it holds every default time limit to the promise.
    """
    go_on = asyncio.Event()
    upstream.once(gate(go_on), say("Late"), finish(), done())
    upstream.once(say("Early"), gate(go_on), say("Late"), finish(), done())
    before = await patient.open_chat()
    await upstream.request()
    middle = await patient.open_chat()
    await middle.head()
    assert b"Early" in await middle.frame()
    await asyncio.gather(before.head(), beats(middle, 7, within=120))
    await beats(before, 6)  # the silence before the first token became a 200 instead of the first beat
    go_on.set()
    for stream in (before, middle):
        rest = [frame for frame in await stream_rest(stream) if frame != HEARTBEAT]
        assert b"Late" in rest[0]
        assert rest[-1] == DONE


async def test_no_heartbeat_stands_between_events_that_come_without_a_pause(
    patient: Client, upstream: ScriptedUpstream
) -> None:
    """A beat is for silence: a busy stream has none."""
    upstream.script(*[event(chunk_of({"content": f"{i} "})) for i in range(200)], finish(), done())
    answer = await patient.chat()
    assert HEARTBEAT not in split_frames(answer.body)
    assert answer.text() == "".join(f"{i} " for i in range(200))


async def test_no_heartbeat_is_due_behind_the_end_however_long_the_settling_takes(
    brisk: Client, brisk_proxy: ProxyProcess, upstream: ScriptedUpstream
) -> None:
    """The ledger waits for a locked database; that heartbeats were due meanwhile is seen on another stream."""
    path = brisk_proxy.database_url.removeprefix("sqlite+aiosqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as locked:
        locked.execute("BEGIN IMMEDIATE")
        assert (await brisk.chat()).body.endswith(DONE)
        upstream.once(gate(asyncio.Event()))
        other = await brisk.open_chat()
        await other.head()
        await beats(other, 3)
        locked.execute("ROLLBACK")
    other.leave()
    brisk_proxy.check_log()
