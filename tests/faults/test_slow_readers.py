"""Two hundred readers who take a byte a second: they cost memory that is bounded, and nobody else anything."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Person, Server
from tests.e2e.talk import PATH
from tests.faults.counting import converse, counted, open_count
from tests.faults.profile import LONG, amount
from tests.support.http import chat, request_bytes
from tests.support.steps import Answer, done, finish, say
from tests.support.upstream import ScriptedUpstream

READERS = amount(short=50, long=200)
ANSWER = 4 << 20
# RELIABILITY I7: 64 MB and 64 kB a stream; the flood is four megabytes for each of them.
KILOBYTES, KILOBYTES_A_STREAM = 64 << 10, 64
WRITE_SECONDS = 30
LAST, PACE = 60, 0.02


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    return launch()


@pytest.fixture
def slow(server: Server) -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    yield sockets
    for sock in sockets:
        sock.close()


async def at_length(answer: Answer) -> None:
    """A flood of events to who asks for it, a count to everybody else."""
    if b"flood" not in answer.request.body:
        return await converse(LAST, pace=PACE)(answer)
    for _ in range(ANSWER >> 14):
        # Little to count and much to carry: fields nobody knows are passed on.
        await say("x", padding="." * (16 << 10))(answer)
    for part in (finish(), done()):
        await part(answer)
    return None


async def open_slow(server: Server, person: Person, sockets: list[socket.socket]) -> None:
    """Ask for the flood over a socket whose window is as small as the kernel lets it be."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.setblocking(False)
    sockets.append(sock)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", server.port))
    headers = {"Authorization": f"Bearer {person.bearer}", "Content-Type": "application/json"}
    body = json.dumps(chat("flood")).encode()
    await loop.sock_sendall(sock, request_bytes("POST", PATH, headers, body))
    assert await loop.sock_recv(sock, 12) == b"HTTP/1.1 200"


@pytest.mark.timeout(180)
@pytest.mark.gen_test(timeout=150)
async def test_slow_readers_harm_nobody(
    server: Server, speak: Speak, upstream: ScriptedUpstream, slow: list[socket.socket]
) -> None:
    """Others get their answers whole; memory stays bounded, for the upstream is read no faster than they read."""
    (sloth, person) = await server.people(2)
    upstream.script(at_length)
    (pid,) = server.worker_pids()
    worker = psutil.Process(pid)
    before = worker.memory_info().rss
    await asyncio.gather(*(open_slow(server, sloth, slow) for _ in range(READERS)))
    crawl = asyncio.create_task(_byte_by_byte(slow))
    for _ in range(3):
        streams = await asyncio.gather(*(open_count(speak(server, person)) for _ in range(10)))
        for stream in streams:
            answer = await stream.reply()
            assert (answer.status, answer.text()) == (200, counted(LAST))
    grown = (worker.memory_info().rss - before) >> 10
    assert grown < KILOBYTES + READERS * KILOBYTES_A_STREAM, f"{grown} kB"
    if LONG:
        await until(lambda: upstream.running == 0, "all are closed", WRITE_SECONDS + 15)
        assert len(server.requests_logged(principal=sloth.id, status=499)) == READERS
    crawl.cancel()
    for sock in slow:
        sock.close()
    await until(lambda: upstream.running == 0, "their upstreams are closed")
    server.check_log()


async def _byte_by_byte(sockets: list[socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(1)
        for sock in sockets:
            if sock.fileno() >= 0:
                await loop.sock_recv(sock, 1)
