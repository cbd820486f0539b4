"""Rolling restarts under load: no short request fails, and every stream is whole or comes back to where it was."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil  # type: ignore[import-untyped]
import pytest
from tornado.ioloop import IOLoop

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Person, Server
from tests.e2e.talk import MODEL
from tests.faults.counting import QUESTION, Follower, converse, read_plain
from tests.faults.load import Load
from tests.faults.profile import amount
from tests.streams.events import numbers, open_events, start, text
from tests.support.http import HEARTBEAT, Client, Connection
from tests.support.nginx import inner
from tests.support.steps import done, finish, gate, say
from tests.support.upstream import ScriptedUpstream

WORKERS = 4
RESTARTS = amount(short=2, long=10)
REQUESTS = amount(short=1_000, long=10_000)
CALLERS = 8
STREAMS = 8
# A stream of a second and a half: many begin before a restart and end behind it.
LAST, PACE = 30, 0.05
RESTART_BOUND = 60


@dataclass(frozen=True, slots=True)
class Front:
    """A server, and where its callers find it."""

    server: Server
    port: int


@pytest.fixture(params=["a shared port", "nginx"])
def front(request: pytest.FixtureRequest, launch: Launch, tmp_path: Path) -> Iterator[Front]:
    """Stand-alone all workers share a port; behind nginx each has its own."""
    if request.param == "nginx":
        server = launch(workers=WORKERS, port_per_worker=True)
        nginx = inner(tmp_path, server.ports)
        nginx.start()
        yield Front(server, nginx.port)
        nginx.stop()
    else:
        server = launch(workers=WORKERS)
        yield Front(server, server.port)


@pytest.fixture
def call(io_loop: IOLoop, front: Front) -> Iterator[Callable[[Person], Client]]:
    """A client of the front; its connections end with the test."""
    clients: list[Client] = []

    def make(person: Person) -> Client:
        clients.append(Client(front.port, person.bearer))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


async def restart(server: Server) -> None:
    """SIGHUP, and wait until every worker is another process."""
    former = set(server.worker_pids())
    server.signal(signal.SIGHUP)

    def whole() -> bool:
        pids = set(server.worker_pids())
        return len(pids) == WORKERS and not pids & former

    await until(whole, "every worker is another", RESTART_BOUND)


async def stream_after_stream(client: Client, random: Random, over: asyncio.Event) -> int:
    """One stream after the other, resumable with a reader that drops now and then, or plain; their number."""
    whole = 0
    while not over.is_set():
        if random.random() < 0.5:
            await read_plain(client, LAST)
        else:
            follower = Follower([client], random, drops=random.randint(0, 2))
            await follower.begin(client)
            await follower.follow()
            follower.check(LAST)
            assert follower.refused == []
        whole += 1
    return whole


@pytest.mark.timeout(900)
@pytest.mark.gen_test(timeout=900)
async def test_rolling_restarts_under_load_fail_no_request_and_no_stream(
    front: Front, call: Callable[[Person], Client], upstream: ScriptedUpstream, random: Random
) -> None:
    """Short requests on new and on kept connections, plain and resumable streams, all the while."""
    server = front.server
    asker, *readers = await server.people(1 + STREAMS)
    upstream.script(converse(LAST, pace=PACE))
    load = Load([call(asker)])
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(load.run(CALLERS))
        streams = [group.create_task(stream_after_stream(call(reader), random, over)) for reader in readers]
        for _ in range(RESTARTS):
            await restart(server)
        await until(lambda: load.answered + len(load.errors) >= REQUESTS, "enough was asked", RESTART_BOUND * 10)
        load.end()
        over.set()
        await asking
    print(f"{load.answered} requests, {sum(s.result() for s in streams)} streams, {RESTARTS} restarts")
    assert not load.errors, "\n".join(load.errors[:10])
    assert sum(task.result() for task in streams) > len(streams)
    server.check_log()


@pytest.mark.gen_test(timeout=90)
async def test_a_worker_that_drains_sends_readers_of_other_workers_streams_to_those(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """At different moments, by a pause that the page keeps by itself; what it then reads goes on where it was."""
    server = launch(workers=2, port_per_worker=True)
    (person,) = await server.people(1)
    go_on = asyncio.Event()
    upstream.once(say("1 "), say("2 "), gate(go_on), say("3 "), finish(), done())
    owner, draining = (speak(server, person, worker=number) for number in range(2))
    stream = await start(owner, QUESTION, model=MODEL)
    readers = [await open_events(draining, stream["events_url"]) for _ in range(2)]
    for reader in readers:
        await reader.until(2)
    psutil.Process(server.pid_serving(readers[0].connection)).send_signal(signal.SIGTERM)
    pauses = [[piece async for piece in rest(reader.connection)] for reader in readers]
    told = [re.fullmatch(rb"retry: (\d+)\n\n", b"".join(pieces).replace(HEARTBEAT, b"")) for pieces in pauses]
    assert all(match and 200 <= int(match[1]) <= 2000 for match in told), pauses
    back = await open_events(owner, stream["events_url"], last_event_id=readers[0].events[-1].id or "")
    go_on.set()
    assert text(await back.to_the_end()) == "3 "
    assert numbers(back.events)[0] == 3


async def rest(connection: Connection) -> AsyncIterator[bytes]:
    while piece := await connection.piece():
        yield piece


@pytest.mark.gen_test(timeout=90)
async def test_a_stop_in_the_middle_of_a_rolling_restart_starts_nobody_anew(launch: Launch) -> None:
    """The supervisor's sockets are closed by then: a replacement would have none to serve on."""
    server = launch(workers=2)
    server.signal(signal.SIGHUP)
    server.signal(signal.SIGTERM)
    assert await server.ended() == 0
    server.check_log()
