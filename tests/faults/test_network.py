"""Bad networks: between a worker and its Redis, its upstream, its client."""

from __future__ import annotations

import asyncio
import socket
import statistics
from collections.abc import Iterator
from random import Random

import pytest
from tornado.ioloop import IOLoop

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Server
from tests.e2e.talk import PATH, acknowledge, acknowledged, ask, begin
from tests.faults.counting import Follower, converse, count, counted
from tests.faults.profile import amount
from tests.support.faultproxy import FaultProxy
from tests.support.http import Client, chat
from tests.support.proxy import USUAL_PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.steps import Answer, done, finish, say, usage
from tests.support.upstream import ScriptedUpstream

EVENTS = 40
LAST = 30
CUTS = amount(short=12, long=200)


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    return launch(workers=2, port_per_worker=True)


@pytest.fixture
def network(io_loop: IOLoop, server: Server, random: Random) -> Iterator[FaultProxy]:
    """Between a client and the first worker."""
    proxy = FaultProxy(server.ports[0], random)
    io_loop.run_sync(proxy.start)
    yield proxy
    io_loop.run_sync(proxy.stop)
    server.check_log()


@pytest.mark.gen_test(timeout=90)
async def test_a_slow_redis_delays_no_event_on_the_streams_own_worker(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream, random: Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """RELIABILITY F13, 200 ms ± 100: an event goes from the upstream to the reader without asking Redis."""
    redis = RedisServer(tmp_path_factory.mktemp("slow"))
    redis.start()
    slow = FaultProxy(redis.socket_path, random)
    await slow.start()
    try:
        url = f"redis://127.0.0.1:{slow.port}/0"
        server = await asyncio.to_thread(launch, embedded=True, REDIS__URL=url, **USUAL_PATIENCE)
        (person,) = await server.people(1)
        client = speak(server, person)
        upstream.script(acknowledge())
        assert (await ask(client, "x")).text() == acknowledged("x")
        ways, seen, left = [], asyncio.Event(), [0.0]

        async def play(answer: Answer) -> None:
            for number in range(EVENTS):
                seen.clear()
                left[0] = asyncio.get_running_loop().time()
                await say(f"{number} ")(answer)
                await seen.wait()

        upstream.once(play, finish(), usage(), done())
        follower = Follower([client], random)
        await follower.begin(client)
        slow.delay = (0.05, 0.15)
        reading = asyncio.create_task(follower.follow())
        for number in range(1, EVENTS + 1):
            await until(lambda number=number: len(follower.events) >= number, "it has come")  # type: ignore[misc]
            ways.append(asyncio.get_running_loop().time() - left[0])
            seen.set()
        await reading
        assert follower.events[-1].event == "done"
        assert statistics.median(ways) < 0.1, "each waits for Redis"
        server.check_log()
    finally:
        await slow.stop()
        redis.stop()


@pytest.mark.parametrize("piece", [1, 7])
@pytest.mark.gen_test(timeout=90)
async def test_requests_and_answers_in_small_pieces_are_whole(
    server: Server, network: FaultProxy, upstream: ScriptedUpstream, piece: int
) -> None:
    """Every byte, or every seventh, in a packet of its own, both ways: characters of several bytes among them."""
    (person,) = await server.people(1)
    upstream.script(acknowledge())
    network.piece = piece
    client = Client(network.port, person.bearer)
    try:
        question = "Grüße, 你好, 🙂"
        assert (await ask(client, question)).text() == acknowledged(question)
    finally:
        client.close()


@pytest.mark.gen_test(timeout=90)
async def test_a_reader_whose_network_breaks_again_and_again_misses_nothing(
    server: Server, network: FaultProxy, upstream: ScriptedUpstream, random: Random
) -> None:
    """Reset at random places, also inside an event or a head; it comes back with the last id that it has whole."""
    upstream.script(count(LAST, pace=0.02))
    people = await server.people(-(-CUTS // 6))
    for person in people:
        client = Client(network.port, person.bearer)
        try:
            follower = Follower([client], random)
            network.cut_after = None
            await follower.begin(client)
            reading = asyncio.create_task(follower.follow())
            for _ in range(6):
                network.cut_after = random.randint(1, 4000)
                await asyncio.sleep(random.uniform(0.02, 0.2))
                network.cut()
            network.cut_after = None
            await reading
            follower.check(LAST)
        finally:
            client.close()


@pytest.mark.gen_test(timeout=90)
async def test_a_plain_stream_whose_network_breaks_is_seen_as_cut(
    server: Server, network: FaultProxy, upstream: ScriptedUpstream, random: Random
) -> None:
    """And its upstream is closed."""
    (person,) = await server.people(1)
    upstream.script(count(1000, pace=0.01))
    client = Client(network.port, person.bearer)
    try:
        stream = await begin(client, "Count.")
        await stream.head()
        await stream.piece()
        network.cut()
        with pytest.raises(ConnectionError):
            await stream.reply()
        async with asyncio.timeout(5):
            await (await upstream.request()).left
    finally:
        client.close()


@pytest.mark.parametrize("piece", [1, 5])
@pytest.mark.gen_test(timeout=90)
async def test_an_upstream_that_comes_in_small_pieces_is_whole(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream, upstream_socket: socket.socket, random: Random, piece: int
) -> None:
    """The relay between is real: packets of one byte, delayed."""
    between = FaultProxy(upstream_socket.getsockname()[1], random)
    await between.start()
    try:
        url = f"http://127.0.0.1:{between.port}/v1"
        server = await asyncio.to_thread(launch, UPSTREAM__BASE_URL=url)
        (person,) = await server.people(1)
        upstream.script(converse(LAST, pace=0))
        between.piece = piece
        answer = await speak(server, person).ask("POST", PATH, {**chat("Count."), "model": "scripted"})
        assert answer.text() == counted(LAST)
    finally:
        await between.stop()
