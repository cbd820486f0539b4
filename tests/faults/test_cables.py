"""A reader whose cable was cut says no goodbye: TCP_USER_TIMEOUT finds it, whatever it was reading.

Where a cable cannot be cut (``tests/support/cable.py``) there is only a reader that takes nothing any more. Its kernel
still speaks, but its window stays shut, which is as dead to TCP_USER_TIMEOUT.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TypeAlias

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Person, Server
from tests.e2e.talk import MODEL, PATH, begin, newest
from tests.faults.counting import count, counted
from tests.streams.events import ending, open_events, start, text
from tests.support.cable import cut_cable, may_cut
from tests.support.http import Client, chat, request_bytes
from tests.support.steps import Answer, Step, completion_of, gate, reply, say, stall
from tests.support.upstream import ScriptedUpstream

# TCP_USER_TIMEOUT is 20 s. Who takes nothing is closed after 30 s by the worker itself: none of these may need as long.
FOUND_SECONDS = 27.0
# Not before: a network that stumbles for some seconds costs nobody an answer.
PATIENT_SECONDS = 15.0
LAST = 80


@dataclass(slots=True)
class Scene:
    """A server whose streams beat every second, and somebody who reads there."""

    server: Server
    person: Person
    client: Client
    upstream: ScriptedUpstream
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def script(self) -> None:
        """What is answered to which question."""
        scripts: dict[str, tuple[Step, ...]] = {
            "silence": (say("1 "), stall()),
            "count": (count(LAST, pace=0.3),),
            "resumable": (count(LAST, pace=0.3),),
            "whole": (gate(self.answered), reply(200, completion_of("42"))),
            "flood": (flood,),
        }

        async def by_question(answer: Answer) -> None:
            for step in scripts[newest(answer.request)]:
                await step(answer)

        self.upstream.script(by_question)

    async def lost(self, sock: socket.socket) -> None:
        """The worker gives up the connection of *sock*: within the bound, and not too soon."""
        port, clock = sock.getsockname()[1], asyncio.get_running_loop().time
        began = clock()
        await until(lambda: not held(self.server, port), "it is given up", FOUND_SECONDS)
        assert clock() - began > PATIENT_SECONDS

    async def closed(self, question: str) -> None:
        """Nobody reads on for who is gone: the upstream's connection is closed."""
        (request,) = [request for request in self.upstream.requests if newest(request) == question]
        async with asyncio.timeout(5):
            await request.left


def held(server: Server, port: int) -> bool:
    """Whether a worker still has the connection that comes from *port*."""
    return any(
        connection.raddr and connection.raddr.port == port
        for pid in server.worker_pids()
        for connection in psutil.Process(pid).net_connections("tcp")
    )


async def flood(answer: Answer) -> None:
    """More than any buffer on the way holds."""
    while not answer.request.left.done():
        await say("x", padding="." * (16 << 10))(answer)


async def silence(scene: Scene) -> None:
    """Only heartbeats are lost on the way."""
    stream = await begin(scene.client, "silence")
    await stream.head()
    await stream.frame()
    cut_cable(stream._sock)
    await scene.lost(stream._sock)
    await scene.closed("silence")


async def events(scene: Scene) -> None:
    """Events are."""
    stream = await begin(scene.client, "count")
    await stream.head()
    await stream.frame()
    cut_cable(stream._sock)
    await scene.lost(stream._sock)
    await scene.closed("count")


async def resumable(scene: Scene) -> None:
    """The stream goes on without its reader, who comes back by another way and misses nothing."""
    stream = await start(scene.client, "resumable", model=MODEL)
    reading = await open_events(scene.client, stream["events_url"])
    seen = list(await reading.until(2))
    sock = reading.connection._sock
    cut_cable(sock)
    await scene.lost(sock)
    back = await open_events(scene.client, stream["events_url"], last_event_id=seen[-1].id or "")
    seen += await back.to_the_end()
    assert (text(seen), ending(seen)[0]) == (counted(LAST), "done")


async def whole(scene: Scene) -> None:
    """An answer in one piece, which is ready when nobody is there any more."""
    connection = await begin(scene.client, "whole", stream=False)
    await until(lambda: "whole" in map(newest, scene.upstream.requests), "it is asked")
    cut_cable(connection._sock)
    scene.answered.set()
    await scene.lost(connection._sock)


async def swallowing(scene: Scene) -> None:
    """Its kernel is there, and has no room for anything."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", scene.server.port))
        headers = {"Authorization": f"Bearer {scene.person.bearer}", "Content-Type": "application/json"}
        body = json.dumps({**chat("flood"), "model": MODEL}).encode()
        await loop.sock_sendall(sock, request_bytes("POST", PATH, headers, body))
        assert await loop.sock_recv(sock, 12) == b"HTTP/1.1 200"
        await scene.lost(sock)
        await scene.closed("flood")


Reader: TypeAlias = Callable[[Scene], Coroutine[None, None, None]]
READERS: tuple[Reader, ...] = (silence, events, resumable, whole, swallowing) if may_cut() else (swallowing,)


@pytest.mark.gen_test(timeout=120)
async def test_readers_behind_a_dead_network_are_found(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """All at once, for each takes twenty seconds."""
    server = launch(STREAMS__HEARTBEAT_SECONDS="1", STREAMS__OPEN_AFTER_SECONDS="1")
    (person,) = await server.people(1)
    scene = Scene(server, person, speak(server, person), upstream)
    scene.script()
    async with asyncio.TaskGroup() as group:
        for reader in READERS:
            group.create_task(reader(scene))
    server.check_log()
