"""How long a session lives, how long a turn waits for it, and what becomes of it when Redis forgets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from streamproxy.domain.sessions import SessionRef
from streamproxy.stores.redis import session_keys
from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Person, Server
from tests.e2e.talk import acknowledge, acknowledged, ask, assistant, begin, system, told, user
from tests.support.steps import finish, gate, say
from tests.support.upstream import ScriptedUpstream

TTL = 2


@pytest.fixture(scope="module")
def fleeting(launch: Launch) -> Server:
    """Sessions live two seconds, and a turn waits a quarter of one."""
    return launch(workers=2, port_per_worker=True, SESSIONS__TTL_SECONDS=str(TTL), SESSIONS__WAIT_SECONDS="0.25")


@pytest.fixture(scope="module")
def lasting(launch: Launch) -> Server:
    """Sessions live as long as they do by default."""
    return launch(workers=2, port_per_worker=True)


@pytest.fixture(autouse=True)
def sound(fleeting: Server, lasting: Server, upstream: ScriptedUpstream) -> Iterator[None]:
    upstream.script(acknowledge())
    yield
    fleeting.check_log()
    lasting.check_log()


async def left_to_live(server: Server, person: Person, session: str) -> int:
    """Milliseconds until Redis forgets the session; -2 when it has."""
    async with server.redis() as redis:
        return int(await redis.pttl(session_keys(SessionRef(person.id, session))[0]))


async def test_a_turn_that_has_waited_too_long_is_told_that_the_session_is_busy(
    fleeting: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """It reaches no upstream and leaves no trace, and the one that ran is not disturbed."""
    (person,) = await fleeting.people(1)
    go_on = asyncio.Event()
    upstream.once(gate(go_on), acknowledge())
    first = await begin(speak(fleeting, person), "one", "busy")
    await upstream.request()
    refused = await ask(speak(fleeting, person, worker=1), "two", "busy")
    assert refused.status == 409
    assert refused.json["error"]["code"] == "session_busy"
    assert int(refused.head.get("Retry-After") or "missing") >= 1
    assert refused.head.get("X-Session-Id") == "busy"
    go_on.set()
    assert (await first.reply()).text() == acknowledged("one")
    await ask(speak(fleeting, person, worker=1), "three", "busy")
    assert [told(request) for request in upstream.requests] == [
        [user("one")],
        [user("one"), assistant(acknowledged("one")), user("three")],
    ]


async def test_after_its_time_to_live_the_context_is_gone_although_history_has_it(
    fleeting: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await fleeting.people(1)
    await ask(speak(fleeting, person), "Remember me.", "old")

    async def forgotten() -> bool:
        return await left_to_live(fleeting, person, "old") == -2

    assert 0 < await left_to_live(fleeting, person, "old") <= TTL * 1000
    await until(forgotten, "Redis forgot the session")
    await ask(speak(fleeting, person, worker=1), "Do you?", "old")
    assert told(upstream.requests[-1]) == [user("Do you?")]
    await fleeting.usage(person, 2)
    said = [row["message"]["content"] for row in await fleeting.history(person)]
    assert said == ["Remember me.", acknowledged("Remember me."), "Do you?", acknowledged("Do you?")]


async def test_each_finished_turn_renews_the_time_to_live(
    fleeting: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await fleeting.people(1)
    await ask(speak(fleeting, person), "one", "renewed")

    async def aged() -> bool:
        return await left_to_live(fleeting, person, "renewed") < TTL * 500

    await until(aged, "half of the time is over")
    await ask(speak(fleeting, person), "two", "renewed")
    assert await left_to_live(fleeting, person, "renewed") > TTL * 500
    assert len(told(upstream.requests[-1])) == 3


async def test_a_turn_that_outlasts_its_session_is_there_for_the_next_one(
    fleeting: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await fleeting.people(1)
    go_on = asyncio.Event()
    await ask(speak(fleeting, person), "one", "slow")
    upstream.once(say("slow"), gate(go_on), finish())
    turn = await begin(speak(fleeting, person), "two", "slow")
    await turn.head()

    async def forgotten() -> bool:
        return await left_to_live(fleeting, person, "slow") == -2

    await until(forgotten, "Redis forgot the session")
    go_on.set()
    while await turn.piece():
        pass
    await ask(speak(fleeting, person, worker=1), "three", "slow")
    assert told(upstream.requests[-1])[-3:] == [user("two"), assistant("slow"), user("three")]


async def test_a_session_that_redis_lost_is_rebuilt_from_history(
    lasting: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """System message included; the scripts, which are lost as well, are loaded again."""
    (person,) = await lasting.people(1)
    await ask(speak(lasting, person), "", "lost", messages=[system("Be brief."), user("one")])
    await ask(speak(lasting, person), "two", "lost")
    await lasting.usage(person, 2)
    async with lasting.redis() as redis:
        await redis.flushall()
        await redis.script_flush()
    await ask(speak(lasting, person, worker=1), "three", "lost")
    whole = [system("Be brief."), user("one"), assistant(acknowledged("one"))]
    whole += [user("two"), assistant(acknowledged("two")), user("three")]
    assert told(upstream.requests[-1]) == whole
    await ask(speak(lasting, person), "four", "lost")
    assert told(upstream.requests[-1]) == [*whole, assistant(acknowledged("three")), user("four")]


async def test_only_the_own_history_is_rebuilt(lasting: Server, speak: Speak, upstream: ScriptedUpstream) -> None:
    alice, mallory = await lasting.people(2)
    await ask(speak(lasting, alice), "My secret is 4711.", "lost")
    await lasting.usage(alice)
    async with lasting.redis() as redis:
        await redis.flushall()
    await ask(speak(lasting, mallory), "What is the secret?", "lost")
    assert told(upstream.requests[-1]) == [user("What is the secret?")]
    await ask(speak(lasting, alice), "And in another session?", "another")
    assert told(upstream.requests[-1]) == [user("And in another session?")]
