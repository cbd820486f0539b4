"""Turns that wait for Redis to come back are told once, in order, and none of them is lost, whoever tells them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.limits import Ask, LimitPolicy, Reservation
from streamproxy.domain.sessions import SessionRef, Turn
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.admission import Admission, OnRedisDown
from streamproxy.services.leases import MOST_UNSAID_TURNS, RENEW_SECONDS, RENEWED_AT_ONCE, LeaseKeeper
from streamproxy.stores.redis.connect import RedisLink, open_redis
from streamproxy.stores.redis.limits import RedisLimits
from streamproxy.stores.redis.sessions import RedisSessions
from tests.support.redis_server import RedisServer

SESSION = SessionRef("u_1", "s")


@pytest.fixture
def link(redis_server: RedisServer, io_loop: IOLoop) -> Iterator[RedisLink]:
    opened = io_loop.run_sync(lambda: open_redis(f"{redis_server.url}?db=13", timeout_seconds=10))
    io_loop.run_sync(lambda: opened.command("FLUSHDB"))
    yield opened
    io_loop.run_sync(opened.close)


@pytest.fixture
def sessions(link: RedisLink) -> RedisSessions:
    return RedisSessions(link, ttl_seconds=60, max_tokens=1000)


@pytest.fixture
def keeper(link: RedisLink, sessions: RedisSessions) -> LeaseKeeper:
    limits = RedisLimits(link, zone=ZoneInfo("UTC"))
    admission = Admission(limits, fallback=limits, policy=LimitPolicy(), on_redis_down=OnRedisDown.LOCAL)
    return LeaseKeeper(admission, sessions, rebuild=False)


def keep(keeper: LeaseKeeper, *numbers: int) -> None:
    for number in numbers:
        keeper.keep_turn(SESSION, Turn(f"st_{number}", ({"role": "user", "content": str(number)},), 1), None)


async def told(sessions: RedisSessions) -> list[str]:
    context = await sessions.read(SESSION)
    return [] if context is None else [turn.id for turn in context.turns]


async def test_requests_and_the_round_that_tell_at_the_same_time_lose_nothing(
    keeper: LeaseKeeper, sessions: RedisSessions
) -> None:
    keep(keeper, *range(5))
    await asyncio.gather(keeper.renew(), *(keeper.catch_up(SESSION) for _ in range(3)))
    assert await told(sessions) == [f"st_{number}" for number in range(5)]


async def test_what_is_kept_while_others_are_told_is_told_too(keeper: LeaseKeeper, sessions: RedisSessions) -> None:
    keep(keeper, 0, 1)
    telling = [asyncio.create_task(keeper.catch_up(SESSION)) for _ in range(2)]
    await asyncio.sleep(0)
    keep(keeper, 2)
    await asyncio.gather(*telling)
    keep(keeper, 3)
    await keeper.catch_up(SESSION)
    assert await told(sessions) == ["st_0", "st_1", "st_2", "st_3"]


async def test_who_comes_while_another_tells_goes_on_when_all_is_told(
    keeper: LeaseKeeper, sessions: RedisSessions
) -> None:
    """Its context would lack the turns that are still to be told."""
    keep(keeper, *range(5))
    first = asyncio.create_task(keeper.renew())
    await asyncio.sleep(0)
    await keeper.catch_up(SESSION)
    assert len(await told(sessions)) == 5
    await first


async def test_of_what_a_session_missed_the_newest_is_kept(keeper: LeaseKeeper, sessions: RedisSessions) -> None:
    """Redis may be away for long, and answers be large."""
    keep(keeper, *range(MOST_UNSAID_TURNS + 3))
    await keeper.renew()
    assert await told(sessions) == [f"st_{number}" for number in range(3, MOST_UNSAID_TURNS + 3)]


class Renewals:
    """Fills in for what renews leases, and remembers which."""

    def __init__(self) -> None:
        self.asked: list[Sequence[Any]] = []

    async def renew(self, held: Sequence[Any]) -> None:
        self.asked.append(held)


async def test_what_a_stream_holds_is_renewed_until_it_is_released() -> None:
    """Both of its places, taken together or one after the other; a place that is not counted is none."""
    places, turns = Renewals(), Renewals()
    keeper = LeaseKeeper(places, turns, rebuild=False)  # type: ignore[arg-type]
    counted = [Reservation(Ask("u_1", f"r_{n}", LimitPolicy(streams=5))) for n in range(2)]
    keeper.hold_place("st_1", counted[0])
    keeper.hold_turn("st_1", SESSION, counted[0])
    keeper.hold_turn("st_2", SESSION, counted[1])
    keeper.hold_turn("st_3", SESSION, Reservation(Ask("u_1", "r_3", LimitPolicy())))
    keeper.hold_turn("st_4", SESSION, None)
    await keeper.renew()
    assert places.asked == [counted]
    assert turns.asked == [[(SESSION, f"st_{n}") for n in range(1, 5)]]
    for n in range(1, 5):
        keeper.release(f"st_{n}")
    await keeper.renew()
    assert (len(places.asked), len(turns.asked)) == (1, 1)


async def test_many_streams_are_renewed_a_few_at_a_time_and_none_that_has_ended() -> None:
    """Meanwhile others are served; whoever ends meanwhile is not brought back."""
    count = 3 * RENEWED_AT_ONCE

    class Ending(Renewals):
        async def renew(self, held: Sequence[Any]) -> None:
            """One of this round trip's has ended before its turn is renewed, another before all of its own is."""
            await super().renew(held)
            keeper.release("st_1")
            keeper.release(f"st_{count - 1}")

    places, turns = Ending(), Renewals()
    keeper = LeaseKeeper(places, turns, rebuild=False)  # type: ignore[arg-type]
    for n in range(count):
        keeper.hold_turn(f"st_{n}", SESSION, Reservation(Ask("u_1", f"st_{n}", LimitPolicy(streams=count))))
    await keeper.renew()
    assert [len(held) for held in places.asked] == [RENEWED_AT_ONCE, RENEWED_AT_ONCE, RENEWED_AT_ONCE - 1]
    left = [(SESSION, f"st_{n}") for n in range(count - 1) if n != 1]
    assert [turn for held in turns.asked for turn in held] == left
    assert max(map(len, turns.asked)) <= RENEWED_AT_ONCE


async def test_those_that_cannot_be_renewed_do_not_keep_others_from_it() -> None:
    """A part of a cluster is away."""

    class Away(Renewals):
        async def renew(self, held: Sequence[Any]) -> None:
            if not self.asked:
                self.asked.append(())
                raise StoreUnavailableError("A part of the shared store is away.", retry_after=1)
            await super().renew(held)

    turns = Away()
    keeper = LeaseKeeper(Renewals(), turns, rebuild=False)  # type: ignore[arg-type]
    for n in range(2 * RENEWED_AT_ONCE):
        keeper.hold_turn(f"st_{n}", SESSION, None)
    await keeper.renew()
    assert turns.asked == [(), [(SESSION, f"st_{n}") for n in range(RENEWED_AT_ONCE, 2 * RENEWED_AT_ONCE)]]


async def test_a_worker_that_is_slow_renews_the_rest_at_once() -> None:
    """Else the leases of the last would be over before it came to them."""
    turns, times = Renewals(), itertools.count(0, RENEW_SECONDS / 5)
    keeper = LeaseKeeper(Renewals(), turns, rebuild=False, clock=lambda: next(times))  # type: ignore[arg-type]
    for n in range(10 * RENEWED_AT_ONCE):
        keeper.hold_turn(f"st_{n}", SESSION, None)
    await keeper.renew()
    assert [len(held) for held in turns.asked] == [RENEWED_AT_ONCE, RENEWED_AT_ONCE, 8 * RENEWED_AT_ONCE]
