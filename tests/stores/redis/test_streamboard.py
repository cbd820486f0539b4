"""The board of running streams: each worker's own list."""

from __future__ import annotations

from uuid import uuid4

from streamproxy.domain.streams import RunningStream
from streamproxy.stores.redis.connect import RedisLink
from streamproxy.stores.redis.streamboard import RedisStreamBoard

STREAM = RunningStream("st_1", "req_1", "u_1", "bob", "gpt-4o", "/v1/chat/completions", 5.5)


async def test_each_worker_reads_what_all_pinned_up_last(link: RedisLink) -> None:
    board, here, there = RedisStreamBoard(link), uuid4().hex, uuid4().hex
    await board.pin(here, [STREAM, STREAM], 1.0)
    await board.pin(here, [STREAM], 2.0)
    await board.pin(there, [], 3.0)
    found = await board.read()
    assert found[here] == (2.0, (STREAM,))
    assert found[there] == (3.0, ())
    await board.take_down(here)
    assert here not in await board.read()
