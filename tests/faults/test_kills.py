"""kill -9: of a worker among four with streams on each, and of the parent while streams run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import kill, until, until_gone
from tests.e2e.server import Person, Server
from tests.e2e.talk import begin
from tests.faults.counting import ENDING_SECONDS, QUESTION, Follower, count_until, is_counted, open_count
from tests.faults.load import Load
from tests.faults.profile import amount
from tests.support.http import Connection
from tests.support.processes import readiness
from tests.support.steps import say, stall
from tests.support.upstream import ScriptedUpstream

WORKERS = 4
REPETITIONS = amount(short=1, long=20)
# Half of them plain, half resumable.
STREAMS = amount(short=6, long=50)
PACE = 0.1
# Of which a fifth is used; a machine that is busy with other tests may need all of it, and more.
BACK_SECONDS = amount(short=10, long=2)
START_BOUND = 60


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    return launch(workers=WORKERS, port_per_worker=True)


@dataclass(frozen=True, slots=True)
class Streams:
    """What runs on one worker."""

    plain: Sequence[Connection]
    followers: Sequence[Follower]


async def streams_on(worker: int, person: Person, server: Server, speak: Speak, random: Random) -> Streams:
    """Plain streams, and resumable ones whose readers may be at any worker."""
    clients = [speak(server, person, worker=number) for number in range(WORKERS)]
    followers = [Follower(clients, random) for _ in range(STREAMS // 2)]
    await asyncio.gather(*(follower.begin(clients[worker]) for follower in followers))
    plain = await asyncio.gather(*(open_count(clients[worker]) for _ in range(STREAMS // 2)))
    return Streams(plain, followers)


@pytest.mark.parametrize("repetition", range(REPETITIONS))
@pytest.mark.gen_test(timeout=90)
async def test_a_killed_worker_ends_its_own_streams_honestly_and_nobody_elses(
    server: Server, speak: Speak, upstream: ScriptedUpstream, random: Random, repetition: int
) -> None:
    """Plain ones are cut where everybody sees it, resumable ones end as lost within 15 s, short questions go on."""
    (person,) = await server.people(1)
    over = asyncio.Event()
    upstream.script(count_until(over, pace=PACE))
    running = [await streams_on(worker, person, server, speak, random) for worker in range(WORKERS)]
    reading = [asyncio.create_task(follower.follow()) for streams in running for follower in streams.followers]
    victim = random.randrange(WORKERS)
    load = Load([speak(server, person, worker=worker) for worker in range(WORKERS) if worker != victim])
    asking = asyncio.create_task(load.run(WORKERS))
    pid = server.pid_serving(running[victim].plain[0])
    await asyncio.sleep(random.uniform(0, 1))
    kill(pid)
    async with asyncio.timeout(ENDING_SECONDS):
        for stream in running[victim].plain:
            with pytest.raises(ConnectionError):
                await stream.reply()
        for follower in running[victim].followers:
            await until(lambda follower=follower: follower.over, "the stream has ended", ENDING_SECONDS)  # type: ignore[misc]
            follower.check_broken("owner_lost")
    over.set()
    await asyncio.gather(*reading)
    load.end()
    await asking
    for worker in set(range(WORKERS)) - {victim}:
        for stream in running[worker].plain:
            assert is_counted((await stream.reply()).text())
        for follower in running[worker].followers:
            follower.check_all()
    assert not load.errors, "\n".join(load.errors[:10])
    assert load.answered > 0
    lost = [row for row in await server.usage(person, len(reading) * 2 + load.answered - STREAMS // 2) if broken(row)]
    assert len(lost) == STREAMS // 2
    await until(lambda: readiness(server.ports[victim])[0] == 200, "the worker is back at its port", START_BOUND)
    assert back_after(server, victim) < BACK_SECONDS
    server.check_log()


def broken(row: dict[str, object]) -> bool:
    return row["end_reason"] == "worker_lost"


def back_after(server: Server, worker: int) -> float:
    """Seconds from the last death of a worker to when its successor was ready, by the log."""
    deaths = [line for line in server.lines() if line["message"].startswith(f"worker {worker} ended")]
    births = [line for line in server.lines() if line["message"] == f"worker {worker} is ready"]
    return (_time(births[-1]) - _time(deaths[-1])).total_seconds()


def _time(line: dict[str, str]) -> datetime:
    return datetime.fromisoformat(line["time"])


@pytest.mark.gen_test(timeout=90)
async def test_a_killed_parent_leaves_no_orphan_and_no_stream_without_an_ending(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """The kernel tells the workers; they drain as if they had been asked to."""
    server = launch(workers=2, embedded=True, SERVER__DRAIN_SECONDS="1")
    (person,) = await server.people(1)
    upstream.script(say("1 "), stall())
    stream = await begin(speak(server, person), QUESTION)
    await stream.head()
    await stream.frame()
    family = [process.pid for process in psutil.Process(server.process.pid).children(recursive=True)]
    assert len(family) == 3
    kill(server.process.pid)
    assert await server.ended() == -signal.SIGKILL
    frames = [frame async for frame in stream.frames()]
    assert b"server_shutdown" in frames[-2]
    assert frames[-1] == b"data: [DONE]\n\n"
    for pid in family:
        await until_gone(pid, START_BOUND)
