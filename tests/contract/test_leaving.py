"""CONTRACTS A1.10: the client leaves, and the upstream connection is closed at once.

The fact itself is awaited, within a second: what a user has left costs no more tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.support.http import Client, Connection
from tests.support.steps import Answer, Step, done, finish, gate, head, raw, reply, say, stall
from tests.support.upstream import ScriptedUpstream

BOUND = 1
LEAVES: dict[str, Callable[[Connection], None]] = {"FIN": Connection.leave, "RST": Connection.reset}
both_ways = pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES.keys())
PHASES: dict[str, tuple[Step, ...]] = {
    "before the upstream's head": (stall(),),
    "before the first event": (head(), stall()),
    "inside the first event": (raw(b'data: {"cho'), stall()),
}


@both_ways
@pytest.mark.parametrize("script", PHASES.values(), ids=PHASES.keys())
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_leaving_before_the_first_byte_closes_the_upstream(
    patient: Client,
    upstream: ScriptedUpstream,
    script: tuple[Step, ...],
    leave: Callable[[Connection], None],
    *,
    stream: bool,
) -> None:
    upstream.script(*script)
    connection = await patient.open_chat(stream=stream)
    request = await upstream.request()
    leave(connection)
    async with asyncio.timeout(BOUND):
        await request.left


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_closing_one_half_is_leaving(patient: Client, upstream: ScriptedUpstream, *, stream: bool) -> None:
    """Nobody can tell a client that only says nothing more from one that is gone; docs/operation.md says so."""
    upstream.script(stall())
    connection = await patient.open_chat(stream=stream)
    request = await upstream.request()
    connection.half_close()
    async with asyncio.timeout(BOUND):
        await request.left


@both_ways
async def test_leaving_in_the_middle_closes_the_upstream(
    patient: Client, upstream: ScriptedUpstream, leave: Callable[[Connection], None]
) -> None:
    """While the upstream is silent: nothing is written that could find the connection closed."""
    upstream.script(say("One"), stall())
    stream = await patient.open_chat()
    await stream.head()
    await stream.frame()
    leave(stream)
    async with asyncio.timeout(BOUND):
        await (await upstream.request()).left


@both_ways
async def test_leaving_while_tokens_flow_closes_the_upstream(
    patient: Client, upstream: ScriptedUpstream, leave: Callable[[Connection], None]
) -> None:
    """An upstream that would go on for ever is stopped by its next write at the latest."""

    async def talk(answer: Answer) -> None:
        while not answer.request.left.done():
            await say("more ")(answer)

    upstream.script(talk)
    stream = await patient.open_chat()
    await stream.head()
    await stream.piece()
    leave(stream)
    async with asyncio.timeout(BOUND):
        await (await upstream.request()).left


@both_ways
async def test_leaving_while_the_socket_is_full_closes_the_upstream(
    patient: Client, upstream: ScriptedUpstream, leave: Callable[[Connection], None]
) -> None:
    """The proxy waits for this client to read; that it leaves instead is no fault of anybody's."""
    upstream.script(*(say("x" * 60_000) for _ in range(300)), finish(), done())
    stream = await patient.open_chat()
    request = await upstream.request()
    await stream.head()
    leave(stream)
    async with asyncio.timeout(BOUND):
        await request.left


@both_ways
@pytest.mark.parametrize("phase", ["before the first token", "in the middle", "whole"])
async def test_a_byte_behind_the_request_delays_it_by_a_heartbeat_at_most(
    brisk: Client, upstream: ScriptedUpstream, leave: Callable[[Connection], None], phase: str
) -> None:
    """Tornado stops watching a connection that has unread input (RELIABILITY 1.2): the next beat finds out.

    On this proxy a beat comes every 0.2 s; an answer that is not streamed has none, and the bound still holds.
    """
    upstream.script(*((say("One"), stall()) if phase == "in the middle" else (stall(),)))
    connection = await brisk.open_chat(stream=phase != "whole")
    await connection.send(b"G")
    request = await upstream.request()
    if phase == "in the middle":
        await connection.head()
        await connection.frame()
    leave(connection)
    async with asyncio.timeout(BOUND):
        await request.left


async def test_a_client_that_stays_is_not_taken_for_one_that_left(patient: Client, upstream: ScriptedUpstream) -> None:
    """A whole second request behind the first is answered after it."""
    go_on = asyncio.Event()
    upstream.once(say("one"), gate(go_on), finish(), done())
    stream = await patient.open_chat()
    await stream.head()
    assert b"one" in await stream.frame()
    await patient.send_on(stream, "GET", "/v1/models")
    go_on.set()
    while await stream.piece():
        pass
    assert (await stream.reply()).status == 200


async def test_leaving_one_stream_leaves_the_others_alone(patient: Client, upstream: ScriptedUpstream) -> None:
    go_on = asyncio.Event()
    upstream.script(say("One"), gate(go_on), say("Two"), finish(), done())
    leaving, staying = [await patient.open_chat() for _ in range(2)]
    for stream in (leaving, staying):
        await stream.head()
        await stream.frame()
    first, second = await upstream.request(), await upstream.request()
    leaving.leave()
    async with asyncio.timeout(BOUND):
        await asyncio.wait({first.left, second.left}, return_when=asyncio.FIRST_COMPLETED)
    assert first.left.done() != second.left.done()
    go_on.set()
    assert b"Two" in b"".join([frame async for frame in staying.frames()])


async def test_a_finished_stream_leaves_no_upstream_connection_waiting(
    patient: Client, upstream: ScriptedUpstream
) -> None:
    """An upstream that does not end after its end mark is closed as well: the answer is whole."""
    upstream.script(say("All"), finish(), done(), stall())
    assert (await patient.chat()).text() == "All"
    async with asyncio.timeout(BOUND):
        await (await upstream.request()).left


async def test_many_that_leave_at_once_leave_nothing_running(patient: Client, upstream: ScriptedUpstream) -> None:
    """Fifty streams, each left at another moment of its life; the proxy serves the next one as ever."""
    upstream.script(say("One"), stall())
    streams = [await patient.open_chat() for _ in range(50)]
    requests = [await upstream.request() for _ in streams]
    for number, stream in enumerate(streams):
        if number % 3 == 0:
            await stream.head()
        if number % 2:
            stream.leave()
        else:
            stream.reset()
    async with asyncio.timeout(5 * BOUND):
        await asyncio.gather(*(request.left for request in requests))
    upstream.script(reply(200, {"choices": [{"message": {"content": "still here"}}]}))
    assert (await patient.chat(stream=False)).status == 200
