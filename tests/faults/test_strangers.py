"""Strangers who hold connections: a thousand that say nothing, hundreds that drip a head or a body.

Others are answered meanwhile, the memory is bounded, and who took too long is closed.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import suppress

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.talk import PATH
from tests.faults.counting import converse, counted, open_count
from tests.faults.load import Load
from tests.faults.profile import LONG
from tests.support.http import Connection
from tests.support.upstream import ScriptedUpstream

IDLE, DRIPPING = 1000, 200
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: proxy.test\r\nContent-Type: application/json\r\n".encode()
BODY = HEAD + b"Content-Length: 100000\r\n"
# In front of what drips: a whole head with a credential, one without, a head that never ends.
BEGINNINGS = (BODY + b"Authorization: Bearer %b\r\n\r\n", BODY + b"\r\n", HEAD + b"X-Drip: ")
DRIP_SECONDS = 0.5
# RELIABILITY I7 allows 64 kB a stream; nobody here has come to one.
KILOBYTES_A_CONNECTION = 48
# Of the server, and of a busy machine.
BODY_SECONDS, IDLE_SECONDS = 30 + 15, 75 + 15
LAST, PACE = 20, 0.02
SPARE_FILES = 500
# Half of whom keep their connection.
CALLERS = 4


@pytest.fixture(autouse=True)
def _files() -> Iterator[None]:
    """As many descriptors as both ends of the crowd need; the server inherits the limit."""
    former, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = IDLE + len(BEGINNINGS) * DRIPPING + SPARE_FILES
    assert most == resource.RLIM_INFINITY or most >= needed, f"needs {needed} file descriptors: ulimit -Hn"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(former, needed), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (former, most))


@pytest.fixture
def crowd() -> Iterator[list[Connection]]:
    """Connections that are closed with the test."""
    connections: list[Connection] = []
    yield connections
    for connection in connections:
        connection.leave()


async def drip(connection: Connection, beginning: bytes) -> None:
    """A byte now and then, until one end has had enough."""
    with suppress(OSError):
        await connection.send(beginning)
        while True:
            await connection.send(b"x")
            await asyncio.sleep(DRIP_SECONDS)


@pytest.mark.timeout(240)
@pytest.mark.gen_test(timeout=200)
async def test_a_crowd_of_strangers_harms_nobody(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream, crowd: list[Connection]
) -> None:
    """All of them at once, at one worker."""
    server = launch()
    member, person = await server.people(2)
    upstream.script(converse(LAST, pace=PACE))
    (pid,) = server.worker_pids()
    worker = psutil.Process(pid)
    assert (await (await open_count(speak(server, person))).reply()).status == 200
    files, memory = worker.num_fds() + CALLERS, worker.memory_info().rss
    crowd += [await Connection.open(server.port) for _ in range(IDLE + len(BEGINNINGS) * DRIPPING)]
    async with asyncio.TaskGroup() as group:
        for number, connection in enumerate(crowd[IDLE:]):
            beginning = BEGINNINGS[number % len(BEGINNINGS)].replace(b"%b", member.bearer.encode())
            group.create_task(drip(connection, beginning))
        await until(lambda: worker.num_fds() >= files - CALLERS + len(crowd), "all are let in")
        load = Load([speak(server, person)])
        asking = group.create_task(load.run(CALLERS))
        for _ in range(3):
            streams = await asyncio.gather(*(open_count(speak(server, person)) for _ in range(10)))
            for stream in streams:
                answer = await stream.reply()
                assert (answer.status, answer.text()) == (200, counted(LAST))
                stream.leave()
        load.end()
        await asking
        assert not load.errors, "\n".join(load.errors[:10])
        grown = (worker.memory_info().rss - memory) >> 10
        assert grown < len(crowd) * KILOBYTES_A_CONNECTION, f"{grown} kB"
        if LONG:
            bodies = 2 * DRIPPING
            await until(lambda: worker.num_fds() <= files + len(crowd) - bodies, "bodies are given up", BODY_SECONDS)
            await until(lambda: worker.num_fds() <= files, "so are heads, and who says nothing", IDLE_SECONDS)
        for connection in crowd:
            connection.leave()
    await until(lambda: worker.num_fds() <= files, "nothing is left of them")
    server.check_log()
