"""Every promise of the SQL stores is tested on SQLite and on PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from streamproxy.stores.sql.connect import Database, open_sql
from streamproxy.stores.sql.credentials import SqlCredentials
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.stores.sql.migrations import migrate
from streamproxy.stores.sql.users import SqlUsers
from tests.support.postgres_server import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables, one kind after the other."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/data/streamproxy.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create_database(f"test_{secrets.token_hex(6)}")


@pytest.fixture
def sql_url(empty_url: str) -> str:
    migrate(empty_url)
    return empty_url


@pytest.fixture
def database(io_loop: IOLoop, sql_url: str) -> Iterator[Database]:
    database = io_loop.run_sync(lambda: open_sql(sql_url))
    yield database
    io_loop.run_sync(database.close)


@pytest.fixture
def users(database: Database) -> SqlUsers:
    return SqlUsers(database)


@pytest.fixture
def credentials(database: Database) -> SqlCredentials:
    return SqlCredentials(database, clock=lambda: 1000.0)


@pytest.fixture
def ledger(io_loop: IOLoop, database: Database) -> Iterator[SqlLedger]:
    ledger = SqlLedger(database)
    io_loop.run_sync(ledger.start)
    yield ledger
    io_loop.run_sync(ledger.close)
