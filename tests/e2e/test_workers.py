"""Several workers behind one port: killed, replaced, and outlived by nobody."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import kill, until, until_gone
from tests.e2e.server import Server
from tests.e2e.talk import acknowledge, acknowledged, ask, begin
from tests.support.http import Client, Connection
from tests.support.steps import done, finish, gate, say
from tests.support.upstream import ScriptedUpstream

WORKERS = 4
# How long a process may take to be started, or to be gone.
START_BOUND = 60


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    """Four workers that share a port, and the embedded Redis."""
    return launch(workers=WORKERS, embedded=True)


@pytest.fixture(autouse=True)
def sound(server: Server, upstream: ScriptedUpstream) -> Iterator[None]:
    upstream.script(acknowledge())
    yield
    server.check_log()


async def streams_on_two_workers(server: Server, client: Client) -> dict[int, list[Connection]]:
    """Running streams by the pid of their worker; as many as it takes until two workers have some."""
    found: dict[int, list[Connection]] = {}
    for _ in range(200):
        stream = await begin(client, "Talk.")
        await stream.head()
        await stream.frame()
        found.setdefault(server.pid_serving(stream), []).append(stream)
        if len(found) > 1:
            return found
    raise AssertionError("one worker took 200 streams, and the others none")


async def rest(stream: Connection) -> bytes:
    return b"".join([frame async for frame in stream.frames()])


async def replaced(server: Server, gone: set[int]) -> None:
    """Wait until all workers are there and none of them is in *gone*."""

    def whole() -> bool:
        pids = set(server.worker_pids())
        return len(pids) == WORKERS and not pids & gone

    await until(whole, "every worker is back", START_BOUND)


async def test_four_workers_share_one_port_and_the_work(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    assert len(server.worker_pids()) == WORKERS
    end = asyncio.Event()
    upstream.script(say("Well,"), gate(end), finish(), done())
    streams = await streams_on_two_workers(server, speak(server, person))
    assert set(streams) <= set(server.worker_pids())
    end.set()
    await asyncio.gather(*(rest(stream) for many in streams.values() for stream in many))


async def test_the_metrics_of_any_worker_count_for_all(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    end = asyncio.Event()
    upstream.script(say("Well,"), gate(end), finish(), done())
    streams = await streams_on_two_workers(server, speak(server, person))
    count = sum(len(many) for many in streams.values())
    end.set()
    await asyncio.gather(*(rest(stream) for many in streams.values() for stream in many))
    await server.usage(person, count)
    (row,) = await server.rows("SELECT count(*) AS n FROM usage WHERE end_reason = 'finish'")

    async def settled() -> bool:
        return all([await finished(speak(server, person)) == row["n"] for _ in range(2 * WORKERS)])

    # Each worker passes on what it counted twice a second.
    await until(settled, "every worker counts for all")


async def finished(client: Client) -> float:
    """How many streams have finished, by the metrics of whichever worker answers."""
    text = (await client.ask("GET", "/metrics")).body.decode()
    lines = [line for line in text.splitlines() if line.startswith("streamproxy_streams_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if 'end_reason="finish"' in line)


async def test_a_killed_worker_takes_only_its_own_streams_with_it_and_is_back(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    end = asyncio.Event()
    upstream.script(say("Well,"), gate(end), say(" done."), finish(), done())
    streams = await streams_on_two_workers(server, speak(server, person))
    victim, *others = streams
    kill(victim)
    await until_gone(victim, START_BOUND)
    for stream in streams[victim]:
        with pytest.raises(ConnectionError):
            await rest(stream)
    await replaced(server, {victim})
    upstream.script(acknowledge())
    answers = await asyncio.gather(*(ask(speak(server, person), str(number)) for number in range(20)))
    assert [answer.text() for answer in answers] == [acknowledged(str(number)) for number in range(20)]
    end.set()
    for pid in others:
        for stream in streams[pid]:
            assert (await rest(stream)).endswith(b"data: [DONE]\n\n")


async def test_a_rolling_restart_fails_no_request_and_cuts_no_stream(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """SIGHUP: every worker is another process afterwards, and nobody has noticed."""
    (person,) = await server.people(1)
    end, replaced_all = asyncio.Event(), asyncio.Event()
    upstream.once(say("Well,"), gate(end), say(" done."), finish(), done())
    running = await begin(speak(server, person), "Talk.")
    await running.head()
    await running.frame()
    answered = 0

    async def trickle(number: int) -> None:
        nonlocal answered
        client = speak(server, person)
        while not replaced_all.is_set():
            text = f"{number} {answered}"
            assert (await ask(client, text)).text() == acknowledged(text)
            answered += 1
            await asyncio.sleep(0.02)

    former = set(server.worker_pids())
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(trickle(number))
        server.signal(signal.SIGHUP)
        holder = server.pid_serving(running)
        # The worker that still has a stream stays until that has ended.
        await until(lambda: not set(server.worker_pids()) & (former - {holder}), "the others are replaced", 30)
        end.set()
        assert (await rest(running)).endswith(b"data: [DONE]\n\n")
        await replaced(server, former)
        replaced_all.set()
    assert answered > 20


async def test_a_killed_embedded_redis_is_started_again(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    former = server.redis_pid()
    kill(former)
    await another_redis(server, former)
    assert (await ask(speak(server, person), "x", "session")).status == 200


async def test_an_embedded_redis_that_was_started_again_can_be_stopped_like_the_first(server: Server) -> None:
    """By SIGTERM, as the supervisor stops it at its own end: where that fails the end takes 5 s longer."""
    former = server.redis_pid()
    kill(former)
    second = await another_redis(server, former)
    psutil.Process(second).send_signal(signal.SIGTERM)
    await until_gone(second, 2)


async def another_redis(server: Server, former: int) -> int:
    """Wait until an embedded Redis runs that is not *former*."""

    def pid() -> int | None:
        try:
            found = server.redis_pid()
        except ValueError:  # there is none, or two for a moment
            return None
        return None if found == former else found

    found: int = await until(pid, "another Redis runs", START_BOUND)
    return found


async def test_a_killed_parent_leaves_no_orphan(launch: Launch, speak: Speak, upstream: ScriptedUpstream) -> None:
    """kill -9 of the parent: the workers and the embedded Redis end by themselves."""
    server = launch(workers=2, embedded=True)
    family = [process.pid for process in psutil.Process(server.process.pid).children(recursive=True)]
    assert len(family) == 3
    assert server.redis_pid() in family
    kill(server.process.pid)
    assert await server.ended() == -signal.SIGKILL
    for pid in family:
        await until_gone(pid, START_BOUND)


async def test_with_a_port_per_worker_each_is_reached_at_its_own(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """Worker i at port + i, and nobody else there; with all its threads on the i-th CPU where that is wanted."""
    server = launch(workers=3, port_per_worker=True, SERVER__PIN_WORKERS="true")
    (person,) = await server.people(1)
    end = asyncio.Event()
    upstream.script(say("Well,"), gate(end), finish(), done())
    pids: list[int] = []
    for worker in range(3):
        streams = [await begin(speak(server, person, worker=worker), "Talk.") for _ in range(3)]
        for stream in streams:
            await stream.head()
        holders = {server.pid_serving(stream) for stream in streams}
        assert len(holders) == 1
        pids += holders
    assert sorted(pids) == sorted(server.worker_pids())
    assert server.ports == list(range(server.port, server.port + 3))
    cpus = sorted(os.sched_getaffinity(0))
    for worker, pid in enumerate(pids):
        threads = [os.sched_getaffinity(thread.id) for thread in psutil.Process(pid).threads()]
        assert len(threads) > 1
        assert all(places == {cpus[worker % len(cpus)]} for places in threads)
    end.set()


async def test_connections_are_shared_by_the_workers(server: Server) -> None:
    """Whoever accepts them: a worker with nearly all of them is late while the others rest."""
    client = Client(server.port)
    held = [await client.connect() for _ in range(200)]

    def shares() -> list[int]:
        found = [len(psutil.Process(pid).net_connections("tcp")) for pid in server.worker_pids()]
        return [share for share in found if share]

    await until(lambda: sum(shares()) >= len(held), "all are let in")
    # A fair share is 50; an eighth more than another is none too many.
    assert len(shares()) == WORKERS
    assert min(shares()) >= 30, shares()
    client.close()
