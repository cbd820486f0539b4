"""Tickets: a minute to their first use, then as long as their stream; by a clock that is set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.streamlog import StreamHead
from streamproxy.errors import NotFoundError
from streamproxy.services.bearers import Bearers, Kind
from streamproxy.services.tickets import FIRST_USE_SECONDS, Tickets
from streamproxy.stores.redis.connect import open_redis
from streamproxy.stores.redis.streams import RedisStreamLog
from tests.support.redis_server import RedisServer

STREAM = "st_BBBBBBBBBBBBBBBBBBBBBB"
OTHER = "st_CCCCCCCCCCCCCCCCCCCCCC"
LIFE = 900.0
SECRET = b"s" * 32


class Desk:
    """Tickets over a real log, and the clock by which they are looked at."""

    def __init__(self, log: RedisStreamLog) -> None:
        self.now = 1_000_000.0
        self.bearers = Bearers(SECRET, clock=lambda: self.now)
        self.tickets = Tickets(
            self.bearers,
            store=log,
            users=NoUsers(),  # type: ignore[arg-type]
            life_seconds=LIFE,
            clock=lambda: self.now,
        )

    async def refused(self, text: str, stream_id: str = STREAM) -> None:
        with pytest.raises(NotFoundError) as refusal:
            await self.tickets.owner(text, stream_id)
        assert refusal.value.code == "stream_not_found"


class NoUsers:
    """Guests have no account."""

    async def by_id(self, _user_id: str) -> None:
        return None


@pytest.fixture
def desk(io_loop: IOLoop, redis_server: RedisServer) -> Iterator[Desk]:
    async def opened() -> tuple[Desk, RedisStreamLog]:
        link = await open_redis(redis_server.url)
        log = RedisStreamLog(link, replay_seconds=60, running_seconds=60, lease_seconds=6)
        for stream_id in (STREAM, OTHER):
            await log.create(StreamHead(stream_id, "g_1", "m", 0.0, "req_1", "/v1/streams"), "owner")
        return Desk(log), log

    desk, log = io_loop.run_sync(opened)
    yield desk
    io_loop.run_sync(log._link.close)


async def test_a_ticket_that_is_not_used_in_time_is_never_good(desk: Desk) -> None:
    ticket = desk.tickets.issue(STREAM)
    desk.now += FIRST_USE_SECONDS
    await desk.refused(ticket)


async def test_a_ticket_that_was_used_in_time_is_good_until_its_end(desk: Desk) -> None:
    ticket = desk.tickets.issue(STREAM)
    desk.now += FIRST_USE_SECONDS - 1
    assert await desk.tickets.owner(ticket, STREAM) == "g_1"
    desk.now += LIFE - FIRST_USE_SECONDS
    assert await desk.tickets.owner(ticket, STREAM) == "g_1"
    desk.now += 1
    await desk.refused(ticket)


async def test_one_tickets_use_is_not_anothers(desk: Desk) -> None:
    used, unused = desk.tickets.issue(STREAM), desk.tickets.issue(STREAM)
    await desk.tickets.owner(used, STREAM)
    desk.now += FIRST_USE_SECONDS
    await desk.refused(unused)


@pytest.mark.parametrize("stream_id", [OTHER, "st_DDDDDDDDDDDDDDDDDDDDDD"])
async def test_a_ticket_is_for_one_stream(desk: Desk, stream_id: str) -> None:
    await desk.refused(desk.tickets.issue(STREAM), stream_id)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.TICKET])
async def test_no_other_bearer_is_a_ticket(desk: Desk, kind: Kind) -> None:
    await desk.refused(desk.bearers.sign(kind, STREAM, seconds=60)[0])
