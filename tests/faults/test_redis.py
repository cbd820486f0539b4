"""Redis has a bad day while streams run: they all end well, new questions are answered as the settings say, and
the limits hold again when it is over.

That it is killed or stopped for good is the subject of ``tests/e2e/test_redis_away.py``; here it comes back.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from random import Random

import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Person, Server
from tests.e2e.talk import ask
from tests.faults.counting import Follower, converse, count_until, is_counted, open_count
from tests.faults.profile import LONG, amount
from tests.faults.redisfaults import FAULTS, REFUSES_WRITES
from tests.support.http import Client, Connection
from tests.support.processes import readiness
from tests.support.proxy import USUAL_PATIENCE
from tests.support.redis_server import limit_key
from tests.support.steps import reply
from tests.support.upstream import ScriptedUpstream

WORKERS = 2
COUNT = 40
PACE = 0.05
# Ten seconds are longer than a lease (6 s) and the patience of who buries the dead (3 s) together: the owners of all
# streams look dead when it is over.
FAULT_SECONDS = {"paused": 10.0, "out of memory": 10.0, "read only": amount(short=3, long=10), "restarted empty": 1.0}
REPETITIONS = amount(short=1, long=20)
# What a question may wait for a Redis that does not answer.
# It is 0.3 s on a machine that has nothing else to do; a second wait would make it half a second anywhere.
WAIT_SECONDS = 0.3 if LONG else 0.5


@pytest.fixture(scope="module")
def local(launch: Launch) -> Server:
    return launch(workers=WORKERS, port_per_worker=True, LIMITS__REQUESTS=f"{COUNT}/min", **USUAL_PATIENCE)


@pytest.fixture(scope="module")
def closed(launch: Launch) -> Server:
    return launch(port_per_worker=True, LIMITS__ON_REDIS_DOWN="closed", **USUAL_PATIENCE)


@pytest.fixture(autouse=True)
def sound(local: Server, closed: Server, upstream: ScriptedUpstream) -> Iterator[None]:
    upstream.script(converse(0, pace=0))
    yield
    for server in (local, closed):
        assert server.redis_server is not None
        server.redis_server.send_signal(signal.SIGCONT)
        server.check_log()


async def well(server: Server) -> None:
    """Wait until every worker has Redis again."""
    for port in server.ports:
        await until(lambda port=port: readiness(port) == (200, {"status": "ready", "away": {}}), "all is well")  # type: ignore[misc]


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("repetition", range(REPETITIONS))
@pytest.mark.gen_test(timeout=60)
async def test_streams_go_on_and_limits_come_back(
    local: Server,
    speak: Speak,
    upstream: ScriptedUpstream,
    random: Random,
    name: str,
    repetition: int,
) -> None:
    """Plain streams and resumable ones, read on their own worker and on the other, with readers that come and go."""
    talker, asker, counted = await local.people(3)
    over = asyncio.Event()
    upstream.script(count_until(over, pace=PACE))
    here, there = (speak(local, talker, worker=number) for number in range(WORKERS))
    plain = [await open_count(client) for client in (here, there)]
    followers = await readers(here, there, random)
    reading = [asyncio.create_task(follower.follow()) for follower in followers]
    assert local.redis_server is not None
    await asyncio.sleep(random.uniform(0.2, 1))
    # Sooner than the test itself, so that the traceback tells where it hangs.
    async with asyncio.timeout(45), FAULTS[name](local.redis_server):
        until_then = asyncio.get_running_loop().time() + FAULT_SECONDS.get(name, 3.0)
        number = 0
        while number < WORKERS or asyncio.get_running_loop().time() < until_then:
            answer = await ask(speak(local, asker, worker=number), f"question {number}")
            assert answer.status in (200, 429), answer
            number += 1
            await asyncio.sleep(0.2)
    await well(local)
    over.set()
    await check(plain, followers, reading)
    await limited(local, speak, counted)


async def readers(here: Client, there: Client, random: Random) -> list[Follower]:
    """Of streams that run *here*: one who stays here, one who stays there, one who drops and goes anywhere."""
    followers = [Follower([here], random), Follower([there], random), Follower([here, there], random, drops=3)]
    for follower in followers:
        await follower.begin(here)
    return followers


async def check(plain: list[Connection], followers: list[Follower], reading: list[asyncio.Task[None]]) -> None:
    """All streams have ended well, nothing lost, nothing twice."""
    async with asyncio.timeout(15):
        for stream in plain:
            assert is_counted((await stream.reply()).text())
        await asyncio.gather(*reading)
    for follower in followers:
        follower.check_all()


async def limited(server: Server, speak: Speak, person: Person) -> None:
    """The limit is counted by Redis, over all workers, to the last one."""
    statuses = [(await ask(speak(server, person, worker=number), "x")).status for number in range(COUNT + 1)]
    assert statuses == [200] * COUNT + [429]
    async with server.redis() as redis:
        assert int(await redis.llen(limit_key(person.id, "ring", "60"))) == COUNT


@pytest.mark.parametrize("name", REFUSES_WRITES)
async def test_a_redis_that_takes_no_writes_is_one_that_is_away(
    closed: Server, speak: Speak, upstream: ScriptedUpstream, name: str
) -> None:
    """With ``closed`` nobody is admitted unmetered, although it still answers a ping."""
    (person,) = await closed.people(1)
    assert closed.redis_server is not None
    async with FAULTS[name](closed.redis_server):
        for session in (None, "s"):
            answer = await ask(speak(closed, person), "x", session)
            assert (answer.status, answer.json["error"]["code"]) == (503, "store_unavailable")
        assert not upstream.requests

    async def admitted() -> bool:
        return (await ask(speak(closed, person), "x", "s")).status == 200

    await until(admitted, "questions are answered again")


async def test_a_question_waits_for_a_silent_redis_once(
    local: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """In a session it needs Redis six times, and all together must cost no more than 300 ms.

    Of several the quickest counts: this machine may be busy, but a second wait would be in every one of them.
    """
    upstream.script(reply(200, {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}}]}))
    (person,) = await local.people(1)
    client = speak(local, person)
    healthy = min([await seconds(client) for _ in range(3)])
    assert local.redis_server is not None
    waits = []
    for _ in range(amount(short=3, long=10)):
        async with FAULTS["paused"](local.redis_server):
            waits.append(await seconds(client) - healthy)
        await well(local)
    assert min(waits) < WAIT_SECONDS, waits


async def seconds(client: Client) -> float:
    began = time.monotonic()
    answer = await ask(client, "Well?", "timed", stream=False)
    assert answer.status == 200, answer
    return time.monotonic() - began
