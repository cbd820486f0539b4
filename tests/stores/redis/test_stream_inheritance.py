"""Who settles what a dead worker left: one at a time, and another when that one dies as well. By Redis's own time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streamproxy.domain.streamlog import LOST_NUMBER, Ending, Piece, StreamHead, StreamState
from streamproxy.services.livestream import MOST_EVENTS_OF_A_STREAM
from streamproxy.stores.redis import stream_keys
from streamproxy.stores.redis.connect import open_redis
from streamproxy.stores.redis.streams import RedisStreamLog
from tests.e2e.facts import until
from tests.support.redis_server import RedisServer

STREAM = "st_EEEEEEEEEEEEEEEEEEEEEE"
LEASE_SECONDS = 0.2
LOST = Ending(StreamState.FAILED, b'{"error":{}}')
DONE = Ending(StreamState.DONE, b"{}")


@asynccontextmanager
async def log_of(server: RedisServer, *, lease_seconds: float = LEASE_SECONDS) -> AsyncIterator[RedisStreamLog]:
    """A log of its own database with one stream that has said a word."""
    link = await open_redis(f"{server.url}?db=15")
    await link.command("FLUSHDB")
    log = RedisStreamLog(link, replay_seconds=60, running_seconds=60, lease_seconds=lease_seconds)
    try:
        await log.create(StreamHead(STREAM, "u_1", "m", 0.0, "req_1", "/v1/streams"), "owner")
        await log.append("owner", [(STREAM, Piece(1, (b"{}",)))])
        yield log
    finally:
        await link.close()


async def found_dead(log: RedisStreamLog) -> None:
    async def overdue() -> bool:
        return STREAM in await log.overdue()

    await until(overdue, "the owner is found dead")


async def inherited(log: RedisStreamLog) -> None:
    """The list of running streams may run ahead of the lease itself by what lies between two renewals."""
    await until(lambda: log.inherit(STREAM, LOST), "somebody settles it")


async def test_one_of_many_settles(redis_server: RedisServer) -> None:
    async with log_of(redis_server) as log:
        await found_dead(log)
        await inherited(log)
        assert not any([await log.inherit(STREAM, LOST) for _ in range(4)])
        await log.forget_running(STREAM)
        assert await log.overdue() == []


async def test_a_stream_that_readers_have_ended_is_still_settled(redis_server: RedisServer) -> None:
    async with log_of(redis_server) as log:
        await found_dead(log)

        async def reaped() -> bool:
            await log.reap(STREAM, LOST)
            (page,) = await log.read([(STREAM, 0)])
            return page is not None and page.state is StreamState.FAILED

        await until(reaped, "a reader has ended it")
        assert await log.overdue() == [STREAM]
        assert await log.inherit(STREAM, LOST)
        (page,) = await log.read([(STREAM, 0)])
        assert page is not None
        assert [piece.ending for piece in page.pieces] == [None, LOST]


async def test_the_ending_in_a_dead_owners_place_is_behind_all_that_its_readers_can_have_seen(
    redis_server: RedisServer,
) -> None:
    """Also behind the next number, which an event may have had that the log never got."""
    async with log_of(redis_server) as log:
        await found_dead(log)
        await inherited(log)
        for seen in (1, 2, 3, MOST_EVENTS_OF_A_STREAM):
            (page,) = await log.read([(STREAM, seen)])
            assert page is not None
            assert [(piece.last, piece.ending) for piece in page.pieces] == [(LOST_NUMBER, LOST)]
            assert not page.pieces[0].leaves_gap(seen)
        (page,) = await log.read([(STREAM, LOST_NUMBER)])
        assert page is not None
        assert (page.pieces, page.last) == ((), LOST_NUMBER)


async def test_an_heir_that_dies_is_followed_by_another(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamproxy.stores.redis.streams.SETTLING_MICROSECONDS", 50_000)
    async with log_of(redis_server) as log:
        await found_dead(log)
        for _heir in range(2):
            await inherited(log)


async def test_the_living_are_not_inherited(redis_server: RedisServer) -> None:
    async with log_of(redis_server, lease_seconds=600) as log:
        assert not await log.inherit(STREAM, LOST)
        (page,) = await log.read([(STREAM, 0)])
        assert page is not None
        assert page.state is StreamState.RUNNING


@pytest.mark.parametrize("how", ["ended by its owner", "forgotten by Redis"])
async def test_where_nothing_is_left_to_settle_nobody_looks_again(redis_server: RedisServer, how: str) -> None:
    async with log_of(redis_server) as log:
        await found_dead(log)
        if how == "ended by its owner":
            await log.append("owner", [(STREAM, Piece(2, (), DONE))])
        else:
            await log._link.command("DEL", *stream_keys(STREAM))
        assert not await log.inherit(STREAM, LOST)
        assert await log.overdue() == []
