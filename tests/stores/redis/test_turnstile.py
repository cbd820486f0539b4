"""A turn's way in and out in one step: what both stores promise, and what they promise together."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from streamproxy.domain.limits import Ask, DayQuota, LimitPolicy, Window
from streamproxy.domain.sessions import EMPTY, NO_PLACE, Context, Queued, SessionRef, Turn
from streamproxy.stores.redis import lock_key, queue_keys
from streamproxy.stores.redis.connect import Argument, RedisLink
from streamproxy.stores.redis.limits import RedisLimits
from streamproxy.stores.redis.sessions import RedisSessions
from streamproxy.stores.redis.turnstile import RedisTurnstile
from tests.stores.redis.clock import ClockedLink

POLICY = LimitPolicy(requests=(Window(2, 60), DayQuota(10)), tokens=(Window(100, 60),), streams=5)
SYSTEM = {"role": "system", "content": "简短 🙂"}


class Stores:
    """Both stores over one link, and the turnstile in front of them."""

    def __init__(self, link: RedisLink) -> None:
        self.limits = RedisLimits(link, zone=ZoneInfo("UTC"))
        self.sessions = RedisSessions(link, ttl_seconds=60, max_tokens=100)
        self.turnstile = RedisTurnstile(link, self.limits, self.sessions)


@pytest.fixture
def stores(clocked: ClockedLink) -> Stores:
    return Stores(clocked)


@pytest.fixture
def ref(scope: str) -> SessionRef:
    return SessionRef(scope, "s:1")


def ask(scope: str, tokens: int = 10) -> Ask:
    return Ask(scope, uuid4().hex, POLICY, tokens)


def said(name: str) -> Turn:
    return Turn(name, ({"role": "user", "content": "你好"}, {"role": "assistant", "content": "hi"}), 7)


async def test_in_and_out(stores: Stores, ref: SessionRef) -> None:
    """Admitted and inside; out again the limits are corrected and the next turn finds what was said."""
    decision, place = await stores.turnstile.enter(ask(ref.principal_id), ref, "t1")
    assert decision.reservation is not None
    assert [s.remaining for s in decision.standings] == [1, 9, 90]
    assert place == EMPTY
    await stores.turnstile.leave(decision.reservation, 3, ref, said("t1"), SYSTEM)
    decision, place = await stores.turnstile.enter(ask(ref.principal_id), ref, "t2")
    assert [s.remaining for s in decision.standings] == [0, 8, 87]
    assert isinstance(place, Context)
    assert (place.system, place.turns) == (SYSTEM, (said("t1"),))


async def test_who_is_refused_does_not_queue(stores: Stores, clocked: ClockedLink, ref: SessionRef) -> None:
    for name in ("t1", "t2"):
        decision, _ = await stores.turnstile.enter(ask(ref.principal_id), ref, name)
        assert decision.reservation is not None
    await stores.sessions.leave(ref, "t2")
    decision, place = await stores.turnstile.enter(ask(ref.principal_id), ref, "t3")
    assert (decision.reservation, decision.refused_by, place) == (None, "requests", NO_PLACE)
    assert await clocked.command("ZCARD", queue_keys(ref)[0]) == 0
    assert await clocked.command("HGET", lock_key(ref), "turn") == b"t1"


class CountingLink(ClockedLink):
    """It counts how often a context was read."""

    read = 0

    async def command(self, *args: Argument) -> Any:
        self.read += args[0] == "LRANGE"
        return await super().command(*args)


async def test_who_asks_on_after_a_refusal_is_read_no_context_until_inside(link: RedisLink, ref: SessionRef) -> None:
    """Else whoever is over the limits, in a loop, has Redis send a whole conversation each time."""
    counting = CountingLink(link)
    stores = Stores(counting)
    await stores.sessions.append(ref, said("t0"), SYSTEM)
    for name in ("t1", "t2"):
        await stores.turnstile.enter(ask(ref.principal_id), ref, name)
        await stores.sessions.leave(ref, name)
    counting.read = 0
    for name in ("t3", "t4", "t5"):
        decision, place = await stores.turnstile.enter(ask(ref.principal_id), ref, name)
        assert (decision.reservation, place) == (None, NO_PLACE)
    # The first could not know.
    assert counting.read == 1
    counting.advance(61)
    for count, name in ((2, "t6"), (3, "t7")):
        _, place = await stores.turnstile.enter(ask(ref.principal_id), ref, name)
        assert isinstance(place, Context)
        assert (place.turns, counting.read) == ((said("t0"),), count)
        await stores.sessions.leave(ref, name)


async def test_a_busy_session_is_queued_for(stores: Stores, ref: SessionRef) -> None:
    """The place in the queue is that of the first question, whoever asks in between."""
    await stores.sessions.enter(ref, "t1", 0)
    decision, place = await stores.turnstile.enter(ask(ref.principal_id), ref, "t2")
    assert decision.reservation is not None
    assert isinstance(place, Queued)
    assert place != NO_PLACE
    behind = asyncio.create_task(stores.sessions.enter(ref, "t3", 60))
    entering = asyncio.create_task(stores.sessions.enter(ref, "t2", 60, place=place))
    await stores.sessions.leave(ref, "t1")
    assert await entering == EMPTY
    assert not behind.done()
    await stores.sessions.leave(ref, "t2")
    assert await behind == EMPTY


async def test_both_steps_may_be_repeated(stores: Stores, ref: SessionRef) -> None:
    """An answer that was lost: asked again, the request counts once and the turn is inside."""
    first = ask(ref.principal_id)
    decision, place = await stores.turnstile.enter(first, ref, "t1")
    assert await stores.turnstile.enter(first, ref, "t1") == (decision, place)
    assert decision.reservation is not None
    for _ in range(2):
        await stores.turnstile.leave(decision.reservation, 3, ref, said("t1"), None)
    context = await stores.sessions.read(ref)
    assert context is not None
    assert context.turns == (said("t1"),)
    decision = await stores.limits.reserve(ask(ref.principal_id))
    assert [s.remaining for s in decision.standings] == [0, 8, 87]


async def test_a_new_day_is_noticed(stores: Stores, clocked: ClockedLink, ref: SessionRef) -> None:
    """The day is asked again, and nobody has entered meanwhile."""
    await stores.turnstile.enter(ask(ref.principal_id), ref, "t1")
    await stores.sessions.leave(ref, "t1")
    clocked.advance(86_400)
    decision, place = await stores.turnstile.enter(ask(ref.principal_id), ref, "t2")
    assert [s.remaining for s in decision.standings] == [1, 9, 90]
    assert place == EMPTY


async def test_an_endpoints_own_limits_are_asked_apart(stores: Stores, ref: SessionRef) -> None:
    """Their scope may lie in another slot of a cluster."""
    own = ask(f"{ref.principal_id}:simple-chat")
    decision, place = await stores.turnstile.enter(own, ref, "t1")
    assert decision.reservation is not None
    assert place == NO_PLACE
    await stores.sessions.enter(ref, "t1", 0)
    await stores.turnstile.leave(decision.reservation, 3, ref, said("t1"), None)
    assert await stores.sessions.enter(ref, "t2", 0) != EMPTY
    assert [s.remaining for s in (await stores.limits.reserve(ask(own.scope))).standings] == [0, 8, 87]


async def test_cancelled_on_its_way_it_can_be_taken_back(link: RedisLink, ref: SessionRef) -> None:
    stores = Stores(link)
    await stores.limits.reserve(ask(uuid4().hex))
    entering = asyncio.create_task(stores.turnstile.enter(ask(ref.principal_id), ref, "t1"))
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    await stores.sessions.leave(ref, "t1")
    await stores.sessions.enter(ref, "t2", 0)
