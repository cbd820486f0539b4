"""CONTRACTS C6: the flaws of the Tornado SSE page, on the streams that have no ids: nothing leaks, silence is
filled, every stream ends. What EventSource itself needs (ids, resuming) is family B's and tested there."""

from __future__ import annotations

import asyncio

from tests.e2e.facts import until
from tests.support.http import DONE, HEARTBEAT, Client
from tests.support.proxy import ProxyProcess
from tests.support.steps import Answer, Step, done, finish, gate, say, stall
from tests.support.upstream import ScriptedUpstream

CLIENTS = 50


async def running(client: Client) -> int:
    """How many streams the worker has under way, as it says itself."""
    text = (await client.ask("GET", "/metrics", authorization="")).body.decode()
    (line,) = [line for line in text.splitlines() if line.startswith("streamproxy_streams_running ")]
    return int(float(line.split()[1]))


def flood() -> Step:
    """More than any socket buffer takes, until the proxy has left."""

    async def step(answer: Answer) -> None:
        while not answer.request.left.done():
            await say("x ", padding="p" * 10_000)(answer)

    return step


async def test_clients_that_leave_leave_nothing_behind(
    patient: Client, patient_proxy: ProxyProcess, upstream: ScriptedUpstream
) -> None:
    """The original leaked a coroutine for each, for ever. Half of them never read, so that the flush never ends."""
    upstream.script(flood())
    connections = await asyncio.gather(*(patient.open_chat() for _ in range(CLIENTS)))
    for connection in connections[::2]:
        await connection.head()
    await until(lambda: upstream.running == CLIENTS, "all are being answered")
    assert await running(patient) == CLIENTS
    for number, connection in enumerate(connections):
        connection.reset() if number % 3 else connection.leave()

    async def none_running() -> bool:
        return await running(patient) == 0

    await until(none_running, "every stream has ended")
    await asyncio.gather(*(request.left for request in upstream.requests))


async def test_silence_is_filled_by_heartbeats(brisk: Client, upstream: ScriptedUpstream) -> None:
    """The original had none: the proxy in front closed what thought for a minute."""
    opened = asyncio.Event()
    upstream.script(say("one"), gate(opened), say("two"), finish(), done())
    connection = await brisk.open_chat()
    await connection.head()
    frames = []
    async for frame in connection.frames():
        frames.append(frame)
        if frames.count(HEARTBEAT) == 2:
            opened.set()
    assert HEARTBEAT in frames
    assert frames[-1] == DONE


async def test_every_stream_has_an_end(patient: Client, hasty: Client, upstream: ScriptedUpstream) -> None:
    """The original had none: EventSource came back and asked, and paid, again."""
    upstream.once(say("all said"), finish(), done())
    assert (await patient.chat()).frames()[-1] == DONE
    upstream.once(say("broken off"), stall())
    assert (await hasty.chat()).frames()[-1] == DONE
