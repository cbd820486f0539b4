"""How many streams a principal may run at once, over all workers, also when a worker is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import kill, until, until_gone
from tests.e2e.server import Server
from tests.e2e.talk import acknowledge, acknowledged, ask, begin, told, user
from tests.support.http import Client, Connection
from tests.support.processes import readiness
from tests.support.steps import Step, done, drop, error_of, finish, gate, reply, say, stall
from tests.support.upstream import ScriptedUpstream

PLACES = 2
# A killed worker renews nothing: what it held is free again within this time (leases of 12 s and less).
LEASE_BOUND = 30


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    """Two streams at once for each principal."""
    return launch(workers=4, port_per_worker=True, LIMITS__CONCURRENT_STREAMS=str(PLACES))


@pytest.fixture(autouse=True)
def sound(server: Server, upstream: ScriptedUpstream) -> Iterator[None]:
    upstream.script(acknowledge())
    yield
    server.check_log()


async def running(client: Client) -> Connection:
    """A stream whose first event has arrived."""
    stream = await begin(client, "Talk.")
    assert (await stream.head()).status == 200
    await stream.frame()
    return stream


async def to_the_end(stream: Connection) -> None:
    while await stream.piece():
        pass


async def test_the_third_stream_is_refused_on_any_worker_until_one_has_ended(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    ends = [asyncio.Event(), asyncio.Event()]
    streams = []
    for number, end in enumerate(ends):
        upstream.once(say("Well,"), gate(end), finish(), done())
        streams.append(await running(speak(server, person, worker=number)))
    for worker in range(4):
        refused = await ask(speak(server, person, worker=worker), "third")
        assert refused.status == 429
        assert refused.json["error"]["code"] == "rate_limit_exceeded"
        assert int(refused.head.get("Retry-After") or "missing") >= 1
    ends[1].set()
    await to_the_end(streams[1])
    assert (await ask(speak(server, person, worker=3), "third")).text() == acknowledged("third")
    ends[0].set()
    await to_the_end(streams[0])


async def test_ten_at_once_on_four_workers_run_two_at_a_time(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    end = asyncio.Event()
    upstream.script(say("Well,"), gate(end), finish(), done())
    streams = [await begin(speak(server, person, worker=number), "Talk.") for number in range(10)]
    heads = await asyncio.gather(*(stream.head() for stream in streams))
    assert sorted(head.status for head in heads) == [200] * PLACES + [429] * 8
    assert upstream.most_running == PLACES
    end.set()


ENDINGS: dict[str, tuple[Step, ...]] = {
    "refused by the upstream": (reply(400, error_of("x")),),
    "failed before the first event": (reply(500, error_of("x")),),
    "cut by the upstream": (say("Well,"), drop()),
}


@pytest.mark.parametrize("script", ENDINGS.values(), ids=ENDINGS.keys())
async def test_a_place_is_free_again_when_the_upstream_has_failed(
    server: Server, speak: Speak, upstream: ScriptedUpstream, script: tuple[Step, ...]
) -> None:
    (person,) = await server.people(1)
    upstream.script(*script)
    for number in range(PLACES + 1):
        assert (await ask(speak(server, person, worker=number), "Talk.")).status != 429
    upstream.script(acknowledge())
    assert (await ask(speak(server, person), "again")).status == 200


async def test_a_place_is_free_again_when_the_client_has_left(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.script(say("Well,"), stall())
    for number in range(PLACES + 1):
        stream = await running(speak(server, person, worker=number))
        stream.leave()
        await server.usage(person, number + 1)
    upstream.script(acknowledge())
    assert (await ask(speak(server, person), "again")).status == 200


async def test_a_killed_worker_gives_its_places_and_its_turn_back_within_seconds(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """kill -9: nobody settles anything. Two streams, one of them in a session, ran there."""
    (person,) = await server.people(1)
    upstream.script(say("Well,"), stall())
    plain = await running(speak(server, person, worker=1))
    in_session = await begin(speak(server, person, worker=1), "lost", "torn")
    await in_session.head()
    victim = server.pid_serving(plain)
    assert server.pid_serving(in_session) == victim
    assert (await ask(speak(server, person, worker=2), "third")).status == 429
    async with asyncio.timeout(LEASE_BOUND):
        kill(victim)
        await until_gone(victim, LEASE_BOUND)
        upstream.script(acknowledge())

        async def admitted() -> bool:
            return (await ask(speak(server, person, worker=2), "Is there a place?", "torn")).status == 200

        await until(admitted, "a place is free", LEASE_BOUND)
    assert told(upstream.requests[-1]) == [user("Is there a place?")]

    async def both_admitted() -> bool:
        """Its two leases need not end at the same moment."""
        both = await asyncio.gather(*(ask(speak(server, person, worker=worker), "x") for worker in (0, 3)))
        return [answer.status for answer in both] == [200, 200]

    await until(both_admitted, "both places are free", LEASE_BOUND)
    await until(lambda: readiness(server.ports[1])[0] == 200, "the worker is back at its port", LEASE_BOUND)
