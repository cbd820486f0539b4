"""The ledger while its database is locked, full or away."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select
from tornado.ioloop import IOLoop

from streamproxy.errors import StoreUnavailableError
from streamproxy.stores.sql.connect import Database, open_sql
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.stores.sql.migrations import migrate
from streamproxy.stores.sql.models import usage
from tests.stores.sql.test_ledger import record, said
from tests.support.postgres_server import PostgresServer


class Pauses:
    """Stands in for asyncio.sleep: the ledger's pauses take no time, and the first eight can be waited for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.first = asyncio.Event()
        self.eighth = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.first.set()
        if len(self.seconds) == 8:
            self.eighth.set()
        await asyncio.sleep(0)


class Lock:
    """Another process that holds SQLite's write lock."""

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///"), isolation_level=None)
        self._connection.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        self._connection.close()


@pytest.fixture
def locked(io_loop: IOLoop, sqlite_url: str) -> Iterator[tuple[Database, Lock]]:
    migrate(sqlite_url)
    database = io_loop.run_sync(lambda: open_sql(sqlite_url, busy_seconds=0.01))
    lock = Lock(sqlite_url)
    yield database, lock
    lock.release()
    io_loop.run_sync(database.close)


async def written(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(usage))).scalar_one())


async def test_writes_wait_for_a_locked_database(locked: tuple[Database, Lock]) -> None:
    """A backup holds the lock: nothing fails, pauses grow up to their bound, and it is written in the end."""
    database, lock = locked
    pauses = Pauses()
    ledger = SqlLedger(database, sleep=pauses.sleep)
    await ledger.start()
    writes = [asyncio.create_task(ledger.write(record(n), said(n, "text"))) for n in range(20)]
    await pauses.eighth.wait()
    assert not any(task.done() for task in writes)
    lock.release()
    await asyncio.gather(*writes)
    assert await written(database) == 20
    assert pauses.seconds[:8] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    await ledger.close()


@pytest.mark.parametrize("bounds", [{"max_entries": 3}, {"max_bytes": 4000}])
async def test_beyond_its_bound_the_ledger_refuses(locked: tuple[Database, Lock], bounds: dict[str, int]) -> None:
    """A long outage costs a bounded amount of memory; what was taken before is still written."""
    database, lock = locked
    pauses = Pauses()
    ledger = SqlLedger(database, sleep=pauses.sleep, **bounds)
    await ledger.start()
    taken = [asyncio.create_task(ledger.write(record(n), [])) for n in range(3)]
    await pauses.first.wait()
    with pytest.raises(StoreUnavailableError, match="full"):
        await ledger.write(record(3), [])
    assert ledger.waiting == 3
    lock.release()
    await asyncio.gather(*taken)
    await ledger.write(record(3), [])
    assert await written(database) == 4
    await ledger.close()


async def test_closing_during_an_outage_ends_and_says_what_was_lost(
    locked: tuple[Database, Lock], caplog: pytest.LogCaptureFixture
) -> None:
    """Shutdown is not held up by a dead database: who waits is told, and the log counts the streams."""
    database, _ = locked
    pauses = Pauses()
    ledger = SqlLedger(database, sleep=pauses.sleep)
    await ledger.start()
    writes = [asyncio.create_task(ledger.write(record(n), [])) for n in range(2)]
    await pauses.first.wait()
    with caplog.at_level(logging.ERROR):
        await ledger.close(within=0.01)
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2
    assert "2 streams were not written" in caplog.text
    assert await written(database) == 0


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.stop()


def test_a_postgresql_that_restarts_loses_nothing_acknowledged(own_postgres: PostgresServer, io_loop: IOLoop) -> None:
    """The server is cut off in the middle of a stream of writes, three times: every one of them is there, once."""
    url = own_postgres.create_database("outage")
    migrate(url)

    async def write_through_outages() -> tuple[int, set[str]]:
        database = await open_sql(url)
        pauses = Pauses()
        ledger = SqlLedger(database, sleep=pauses.sleep)
        await ledger.start()
        writes = []
        for outage in range(3):
            first, pauses.first = outage * 100, asyncio.Event()
            writes += [asyncio.create_task(ledger.write(record(n), said(n, "text"))) for n in range(first, first + 60)]
            # Some are on their way, some acknowledged: the cut falls where it falls.
            await writes[0]
            await asyncio.to_thread(own_postgres.halt)
            writes += [asyncio.create_task(ledger.write(record(n), [])) for n in range(first + 60, first + 100)]
            await pauses.first.wait()
            await asyncio.to_thread(own_postgres.launch)
        await asyncio.gather(*writes)
        async with database.read() as connection:
            found = set((await connection.execute(select(usage.c.stream_id))).scalars())
        count = await written(database)
        await ledger.close()
        await database.close()
        return count, found

    count, found = io_loop.run_sync(write_through_outages)
    assert (count, found) == (300, {f"st_{n}" for n in range(300)})
