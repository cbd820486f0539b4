"""Beyond one machine: the master of a Redis Cluster, and of a Sentinel trio, dies while streams run.

Nobody's answer breaks off, whoever asks is answered meanwhile, and the limits hold again when the replica has taken
over. Acknowledged writes may vanish then (replication is asynchronous); the owners of streams write them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from random import Random
from typing import TypeAlias

import pytest

from streamproxy.stores.redis import stream_keys
from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Person, Server
from tests.e2e.talk import ask
from tests.faults.counting import Follower, converse, count_until, is_counted, open_count
from tests.support.processes import readiness
from tests.support.proxy import USUAL_PATIENCE
from tests.support.redis_machines import Cluster, Machines, TcpServer, Watched
from tests.support.upstream import ScriptedUpstream

Serve: TypeAlias = Callable[[str], Server]
WORKERS = 2
COUNT = 20
PACE = 0.05
# RELIABILITY F12: so long may the limits be each worker's own.
DEGRADED_SECONDS = 20


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    machines = Machines(tmp_path_factory.mktemp("machines"))
    yield machines
    machines.stop()


@pytest.fixture(scope="module")
def serve(machines: Machines, launch: Launch) -> Serve:
    """Starts a server whose Redis is at this URL."""

    def start(url: str) -> Server:
        settings = {"REDIS__URL": url, "LIMITS__REQUESTS": f"{COUNT}/min", **USUAL_PATIENCE}
        return launch(workers=WORKERS, port_per_worker=True, embedded=True, **settings)

    return start


@pytest.mark.gen_test(timeout=90)
async def test_a_master_of_a_cluster_dies_while_streams_run(
    serve: Serve, speak: Speak, upstream: ScriptedUpstream, machines: Machines, random: Random
) -> None:
    """Of six nodes: the one that holds the log of a running stream."""
    cluster = Cluster(machines, replicas=1)
    server = serve(cluster.url)
    await survive(server, speak, upstream, random, lambda stream_id: cluster.holder(stream_keys(stream_id)[0]))


@pytest.mark.gen_test(timeout=90)
async def test_a_master_that_sentinels_watch_dies_while_streams_run(
    serve: Serve, speak: Speak, upstream: ScriptedUpstream, machines: Machines, random: Random
) -> None:
    """Three sentinels find a new one."""
    watched = Watched(machines, replicas=1, sentinels=3)
    server = serve(watched.url([sentinel.port for sentinel in watched.sentinels]))
    await survive(server, speak, upstream, random, lambda _: watched.master)


async def survive(
    server: Server, speak: Speak, upstream: ScriptedUpstream, random: Random, victim: Callable[[str], TcpServer]
) -> None:
    """Kill the *victim* that a stream's log lies on, and see everything go on."""
    talker, asker, counted = await server.people(3)
    over = asyncio.Event()
    upstream.script(count_until(over, pace=PACE))
    clients = [speak(server, talker, worker=number) for number in range(WORKERS)]
    plain = [await open_count(client) for client in clients]
    followers = [Follower([clients[0]], random), Follower([clients[1]], random), Follower(clients, random, drops=3)]
    streams = [await follower.begin(clients[0]) for follower in followers]
    reading = [asyncio.create_task(follower.follow()) for follower in followers]
    await until(lambda: all(len(follower.events) > 5 for follower in followers), "all read")
    victim(streams[1]).kill()
    async with asyncio.timeout(DEGRADED_SECONDS):
        await whole(server, speak, asker)
    over.set()
    async with asyncio.timeout(15):
        for stream in plain:
            assert is_counted((await stream.reply()).text())
        await asyncio.gather(*reading)
    for follower in followers:
        follower.check_all()
    upstream.script(converse(0, pace=0))
    statuses = [(await ask(speak(server, counted, worker=number), "x")).status for number in range(COUNT + 1)]
    assert statuses == [200] * COUNT + [429]
    server.check_log()


async def whole(server: Server, speak: Speak, person: Person) -> None:
    """Wait until Redis is there again, for everything; whoever asks meanwhile is answered or politely refused."""

    async def once() -> bool:
        answer = await ask(speak(server, person), "Well?")
        assert answer.status in (200, 429), answer
        return all(readiness(port) == (200, {"status": "ready", "away": {}}) for port in server.ports)

    for _ in range(5):
        # Each time for a node of its own, perhaps: one good answer says little about a cluster.
        await until(once, "Redis is there", DEGRADED_SECONDS)
