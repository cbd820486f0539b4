"""SIGTERM: running streams end well, nobody new is let in, and the exit code is 0."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Server
from tests.e2e.talk import acknowledge, acknowledged, ask, assistant, begin, user
from tests.support.http import Client, Connection, split_frames
from tests.support.steps import done, finish, gate, say, stall
from tests.support.upstream import ScriptedUpstream

DRAIN_SECONDS = 1
# Well before the 30 s that a worker may drain by default, and before a worker that does not end is killed, which the
# check of the log would find.
ENDING_BOUND = 20


async def running(client: Client, session: str | None = None) -> Connection:
    """A stream whose first event has arrived."""
    stream = await begin(client, "Talk.", session)
    assert (await stream.head()).status == 200
    assert b"Well," in await stream.frame()
    return stream


async def rest(stream: Connection) -> bytes:
    return b"".join([frame async for frame in stream.frames()])


async def draining(server: Server) -> None:
    """Wait until every worker says in its log that it drains."""

    def said() -> bool:
        return server.log().count("draining: ") == server.workers

    await until(said, "every worker drains")


async def test_a_running_stream_finishes_and_is_recorded_and_the_exit_code_is_0(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    server = launch(workers=2)
    (person,) = await server.people(1)
    go_on = asyncio.Event()
    upstream.once(say("Well,"), gate(go_on), say(" that is all."), finish(), done())
    stream = await running(speak(server, person))
    idle = await speak(server, person).connect()
    server.signal(signal.SIGTERM)
    await draining(server)
    assert await idle.at_end()
    go_on.set()
    assert (await rest(stream)).endswith(b"data: [DONE]\n\n")
    assert await server.ended() == 0
    assert [row["end_reason"] for row in await server.usage(person)] == ["finish"]
    assert (await server.history(person))[-1]["message"] == assistant("Well, that is all.")


async def test_while_it_drains_a_new_connection_is_refused(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """So that the caller goes elsewhere: nginx asks the next worker, a client tries again."""
    server = launch()
    (person,) = await server.people(1)
    go_on = asyncio.Event()
    upstream.once(say("Well,"), gate(go_on), finish(), done())
    stream = await running(speak(server, person))
    server.signal(signal.SIGTERM)
    await draining(server)
    try:
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(ENDING_BOUND):
                await ask(speak(server, person), "Hello?")
    finally:
        go_on.set()
        await rest(stream)
        assert await server.ended() == 0


async def test_a_connection_that_was_there_before_is_answered_and_then_closed(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """nginx holds such connections: what it sends on one within the first second is not lost."""
    upstream.script(acknowledge())
    server = launch()
    (person,) = await server.people(1)
    client = speak(server, person)
    connections = [await client.connect() for _ in range(2)]
    for connection in connections:
        await client.send_on(connection, "GET", "/readyz")
        assert (await connection.reply()).status == 200
    server.signal(signal.SIGTERM)
    await draining(server)
    await client.send_on(connections[0], "GET", "/readyz")
    told = await connections[0].reply()
    assert told.status == 503
    assert told.json["status"] == "draining"
    body = {"model": "scripted", "messages": [user("Still?")], "stream": True}
    await client.send_on(connections[1], "POST", "/v1/chat/completions", body)
    answer = await connections[1].reply()
    assert answer.text() == acknowledged("Still?")
    assert answer.head.get("Connection") == "close"
    for connection in connections:
        assert await connection.at_end()
    assert await server.ended() == 0


async def test_a_stream_that_lasts_longer_than_the_drain_gets_one_error_event_and_the_end_mark(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """What has not begun gets a status: it waits for its first event, or for the turn before it in its session."""
    server = launch(workers=2, SERVER__DRAIN_SECONDS=str(DRAIN_SECONDS))
    person, silent, whole = await server.people(3)
    upstream.once(say("Well,"), stall())
    stream = await running(speak(server, person), "session")
    upstream.script(stall())
    waiting = await begin(speak(server, silent), "Hello?")
    unstreamed = await begin(speak(server, whole), "Hello?", stream=False)
    requests = [await upstream.request() for _ in range(3)]
    queued = await begin(speak(server, person), "Go on.", "session")
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    error, end = split_frames(await rest(stream))
    assert json.loads(error[6:])["error"]["code"] == "server_shutdown"
    assert end == b"data: [DONE]\n\n"
    for connection in (waiting, unstreamed, queued):
        refused = await connection.reply()
        assert (refused.status, refused.json["error"]["code"]) == (502, "server_shutdown")
    assert await server.ended() == 0
    assert DRAIN_SECONDS - 0.1 <= time.monotonic() - began <= ENDING_BOUND
    await asyncio.gather(*(request.left for request in requests))
    for somebody, ended in ((person, 2), (silent, 1), (whole, 1)):
        rows = await server.usage(somebody, ended)
        assert {(row["end_reason"], row["error_code"]) for row in rows} == {("upstream_error", "server_shutdown")}
    assert (await server.history(person))[-1]["message"] == assistant("Well,")


async def test_a_second_signal_ends_the_streams_at_once(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """Ctrl-C twice: with 30 s to drain nobody has to wait for them."""
    server = launch(workers=2)
    (person,) = await server.people(1)
    upstream.script(say("Well,"), stall())
    stream = await running(speak(server, person))
    server.signal(signal.SIGINT)
    await draining(server)
    server.signal(signal.SIGINT)
    async with asyncio.timeout(ENDING_BOUND):
        assert b"server_shutdown" in await rest(stream)
        assert await server.ended() == 0


async def test_a_port_that_is_taken_is_said_in_one_message(launch: Launch) -> None:
    """Exit code 1, what to do about it, no traceback, and nothing left behind."""
    server = launch()
    second = await asyncio.to_thread(server.start_again)
    assert second.returncode == 1
    assert f"127.0.0.1:{server.port}" in second.stderr
    assert "--port" in second.stderr
    assert "Traceback" not in second.stderr
