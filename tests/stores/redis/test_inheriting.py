"""When the owner of a stream is dead, and when it only seems so because Redis was away."""

from __future__ import annotations

from uuid import uuid4

import pytest

from streamproxy.domain.streamlog import Ending, LogPage, Piece, StreamHead, StreamState
from streamproxy.stores.redis.streams import RedisStreamLog
from tests.stores.redis.clock import ClockedLink

LEASE = 6.0
LOST = Ending(StreamState.FAILED, b"{}")


@pytest.fixture
def log(clocked: ClockedLink) -> RedisStreamLog:
    return RedisStreamLog(clocked, replay_seconds=60, running_seconds=60, lease_seconds=LEASE)


async def begun(log: RedisStreamLog) -> str:
    """A stream of one event by ``owner``."""
    stream_id = f"st_{uuid4().hex[:22]}"
    await log.create(StreamHead(stream_id, "u", "m", 0.0, "req", "/v1/streams"), "owner")
    await log.append("owner", [(stream_id, Piece(1, (b"{}",)))])
    return stream_id


async def state(log: RedisStreamLog, stream_id: str) -> StreamState:
    (page,) = await log.read([(stream_id, 0)])
    assert isinstance(page, LogPage)
    return page.state


async def asked(log: RedisStreamLog, clocked: ClockedLink, stream_id: str, seconds: float) -> bool:
    """Whether anybody who asks twice a second for so long is to settle the stream."""
    for _ in range(round(seconds * 2)):
        if await log.inherit(stream_id, LOST):
            return True
        clocked.advance(0.5)
    return False


async def test_an_owner_that_does_not_come_back_is_dead(log: RedisStreamLog, clocked: ClockedLink) -> None:
    stream_id = await begun(log)
    assert not await asked(log, clocked, stream_id, LEASE - 0.5)
    assert stream_id not in await log.overdue()
    clocked.advance(1)
    assert stream_id in await log.overdue()
    assert not await asked(log, clocked, stream_id, 2.5)
    assert await state(log, stream_id) is StreamState.RUNNING
    assert await asked(log, clocked, stream_id, 1)
    assert await state(log, stream_id) is StreamState.FAILED


async def test_an_owner_that_comes_back_after_redis_was_away_goes_on(log: RedisStreamLog, clocked: ClockedLink) -> None:
    """Its lease is over, and the first who asks is not the owner."""
    stream_id = await begun(log)
    clocked.advance(60)
    assert not await asked(log, clocked, stream_id, 2)
    await log.append("owner", [(stream_id, Piece(2, (b"{}",)))])
    clocked.advance(LEASE - 0.5)
    assert not await asked(log, clocked, stream_id, 3)
    assert await state(log, stream_id) is StreamState.RUNNING


async def test_time_in_which_nobody_could_ask_does_not_count(log: RedisStreamLog, clocked: ClockedLink) -> None:
    """Redis went away for the second time, just after somebody had begun to doubt."""
    stream_id = await begun(log)
    clocked.advance(60)
    assert not await asked(log, clocked, stream_id, 1)
    clocked.advance(60)
    assert not await asked(log, clocked, stream_id, 2.5)
    assert await asked(log, clocked, stream_id, 1)
