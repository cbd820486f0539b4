from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import stat
from pathlib import Path

import pytest
from sqlalchemy import literal, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from streamproxy.errors import BadRequestError, ConfigurationError, StoreUnavailableError
from streamproxy.stores.sql.connect import Database, open_sql
from streamproxy.stores.sql.lookups import Lookups, Query
from tests.support.postgres_server import PostgresServer
from tests.support.processes import free_port


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_ping_returns_when_the_database_answers(database: Database) -> None:
    await database.ping()


async def test_a_new_sqlite_database_is_private(tmp_path: Path) -> None:
    """Folder 0700 and file 0600 whatever the umask, the write-ahead log included."""
    path = tmp_path / "data" / "streamproxy.db"
    previous = os.umask(0)
    try:
        database = await open_sql(f"sqlite+aiosqlite:///{path}")
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE t (a)"))
        assert _mode(path.parent) == 0o700
        assert {entry.name: _mode(entry) for entry in path.parent.iterdir()} == {
            "streamproxy.db": 0o600,
            "streamproxy.db-wal": 0o600,
            "streamproxy.db-shm": 0o600,
        }
        await database.close()
    finally:
        os.umask(previous)


async def test_sqlite_runs_with_the_settings_that_the_stores_rely_on(sqlite_url: str) -> None:
    database = await open_sql(sqlite_url, busy_seconds=3)
    async with database.read() as connection:
        found = {
            name: (await connection.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    await database.close()
    assert found == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 3000}


async def test_a_failed_write_leaves_nothing(database: Database) -> None:
    """A transaction is all or nothing, tables included."""

    async def write_and_fail() -> None:
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE half (a INTEGER)"))
            raise KeyError("half-way")

    with pytest.raises(KeyError):
        await write_and_fail()
    with pytest.raises(StoreUnavailableError):
        async with database.read() as connection:
            await connection.execute(text("SELECT * FROM half"))


async def test_writers_wait_for_each_other(database: Database) -> None:
    """Read-then-write of twenty transactions at once loses no update: none fails with 'database is locked'."""
    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE counter (n INTEGER)"))
        await connection.execute(text("INSERT INTO counter VALUES (0)"))
    query = "SELECT n FROM counter" if database.engine.dialect.name == "sqlite" else "SELECT n FROM counter FOR UPDATE"

    async def count() -> None:
        async with database.write() as connection:
            n = (await connection.execute(text(query))).scalar_one()
            await connection.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})

    await asyncio.gather(*(count() for _ in range(20)))
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT n FROM counter"))).scalar_one() == 20


async def test_a_locked_sqlite_database_is_unavailable_after_the_bound(sqlite_url: str) -> None:
    """Writers are told so; readers do not notice (write-ahead log)."""
    database = await open_sql(sqlite_url, busy_seconds=0.01)
    await database.ping()
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite+aiosqlite:///"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError):
        async with database.write():
            pass
    await database.ping()
    other.close()
    await database.close()


async def test_an_unreachable_postgresql_is_unavailable_and_its_password_stays_secret() -> None:
    database = await open_sql(f"postgresql+asyncpg://user:hunter2@127.0.0.1:{free_port()}/db")
    with pytest.raises(StoreUnavailableError) as caught:
        await database.ping()
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__!r}"
    await database.close()


async def test_an_unknown_postgresql_database_is_unavailable(postgres_server: PostgresServer) -> None:
    database = await open_sql(f"postgresql+asyncpg://streamproxy@127.0.0.1:{postgres_server.port}/missing")
    with pytest.raises(StoreUnavailableError):
        await database.ping()
    await database.close()


async def test_a_value_that_cannot_be_stored_is_the_values_fault(database: Database) -> None:
    with pytest.raises(BadRequestError):
        async with database.read() as connection:
            await connection.execute(text("SELECT CAST(:n AS BIGINT)"), {"n": 10**30})


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "mysql://root:hunter2@localhost/db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "sqlite+aiosqlite:////proc/nowhere/hunter.db",
    ],
)
async def test_a_url_that_we_cannot_open_is_a_fault_of_the_settings(url: str) -> None:
    """The message names the setting and never repeats a password."""
    with pytest.raises(ConfigurationError, match="DATABASE__URL") as caught:
        await open_sql(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("plain", "driver"), [("sqlite:///{}", "aiosqlite"), ("postgres://host/db", "asyncpg")])
async def test_urls_without_a_driver_get_ours(tmp_path: Path, plain: str, driver: str) -> None:
    database = await open_sql(plain.format(tmp_path / "a.db"))
    assert database.engine.dialect.driver == driver
    await database.close()


async def test_a_worker_takes_no_more_connections_than_it_may(postgres_server: PostgresServer) -> None:
    """Workers times the sum must stay below max_connections: the third reader waits, and gets its turn."""
    database = await open_sql(
        postgres_server.create_database(f"test_{secrets.token_hex(6)}"), pool_size=1, pool_overflow=1
    )
    busy, most = 0, 0

    async def read() -> None:
        nonlocal busy, most
        async with database.read() as connection:
            busy += 1
            most = max(most, busy)
            await connection.execute(text("SELECT pg_sleep(0.05)"))
            busy -= 1

    await asyncio.gather(*(read() for _ in range(6)))
    await database.close()
    assert most == 2


async def test_a_look_up_without_a_connection_to_be_had_is_our_error(sqlite_url: str) -> None:
    """All of them are busy: whoever reads a history goes on without it."""
    engine = create_async_engine(sqlite_url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    lookups = Lookups(engine)
    async with engine.connect():
        with pytest.raises(StoreUnavailableError):
            await lookups.rows(Query(select(literal(1))), {})
    assert [tuple(row) for row in await lookups.rows(Query(select(literal(1))), {})] == [(1,)]
    await lookups.close()
    await engine.dispose()
