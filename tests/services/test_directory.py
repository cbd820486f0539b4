"""Running streams over several workers: one board, each worker its own exchanges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.ports import StreamBoard
from streamproxy.domain.streams import RunningStream
from streamproxy.errors import NotFoundError
from streamproxy.services.directory import STALE_SECONDS, StreamDirectory
from streamproxy.services.order import Interruption, Running
from streamproxy.stores.redis.connect import open_redis
from streamproxy.stores.redis.streamboard import RedisStreamBoard


class Exchange:
    """Runs for ever."""

    def __init__(self, stream_id: str) -> None:
        self.description = RunningStream(stream_id, "req_1", "u_1", "bob", "gpt-4o", "/v1/chat/completions", 5.0)

    def interrupt(self, interruption: Interruption) -> None:
        """Nothing in these tests ends it."""


class Worker:
    """One worker's directory, with the streams it runs, and those it was asked to end."""

    def __init__(self, name: str, board: StreamBoard, *stream_ids: str) -> None:
        self.now = 1000.0
        self.ended: list[tuple[str, str]] = []
        self.exchanges = {stream_id: Exchange(stream_id) for stream_id in stream_ids}
        self.running = Running()
        for exchange in self.exchanges.values():
            self.running.add(exchange)
        self.directory = StreamDirectory(self.running, board, end=self._end, worker=name, clock=lambda: self.now)

    async def _end(self, stream_id: str, user_id: str) -> None:
        self.ended.append((stream_id, user_id))

    async def seen(self) -> list[tuple[str, str]]:
        return [(p.worker, p.stream.stream_id) for p in (await self.directory.all())[0]]


@pytest.fixture
def board(io_loop: IOLoop) -> Iterator[StreamBoard]:
    link = io_loop.run_sync(lambda: open_redis("memory://directory"))
    io_loop.run_sync(lambda: link.command("FLUSHALL"))
    yield RedisStreamBoard(link)
    io_loop.run_sync(link.close)


async def test_a_worker_sees_its_own_at_once_and_the_others_as_they_are_pinned_up(board: StreamBoard) -> None:
    here, there = Worker("a", board, "st_2"), Worker("b", board, "st_1", "st_3")
    assert await here.seen() == [("a", "st_2")]
    await there.directory.renew()
    assert await here.seen() == [("b", "st_1"), ("a", "st_2"), ("b", "st_3")]


async def test_what_one_worker_has_shown_every_other_can_end(board: StreamBoard) -> None:
    """Also what began since its last round."""
    here, there = Worker("a", board, "st_1"), Worker("b", board)
    assert await here.seen() == [("a", "st_1")]
    assert (await there.directory.cancel("st_1")).worker == "a"


async def test_an_idle_worker_takes_its_list_down(board: StreamBoard) -> None:
    here, there = Worker("a", board), Worker("b", board, "st_1")
    await there.directory.renew()
    there.running.discard(there.exchanges["st_1"])
    await there.directory.renew()
    assert await here.seen() == []


async def test_what_a_killed_worker_left_is_not_shown(board: StreamBoard) -> None:
    here, killed = Worker("a", board), Worker("b", board, "st_1")
    await killed.directory.renew()
    here.now += STALE_SECONDS + 1
    assert await here.seen() == []


async def test_a_stream_is_ended_for_its_user_wherever_it_runs(board: StreamBoard) -> None:
    here, there = Worker("a", board, "st_1"), Worker("b", board, "st_2")
    await there.directory.renew()
    assert (await here.directory.cancel("st_1")).worker == "a"
    assert (await here.directory.cancel("st_2")).worker == "b"
    assert here.ended == [("st_1", "u_1"), ("st_2", "u_1")]


async def test_a_stream_that_nobody_runs_is_not_found(board: StreamBoard) -> None:
    with pytest.raises(NotFoundError):
        await Worker("a", board).directory.cancel("st_1")


async def test_without_redis_a_worker_knows_its_own_and_says_that_this_is_not_all(tmp_path: Path) -> None:
    link = await open_redis(f"unix://{tmp_path}/nobody-listens.sock")
    here = Worker("a", RedisStreamBoard(link), "st_1")
    await here.directory.renew()
    placed, complete = await here.directory.all()
    assert [p.stream.stream_id for p in placed] == ["st_1"]
    assert not complete
    await here.directory.cancel("st_1")
    assert here.ended == [("st_1", "u_1")]
    await link.close()
