"""Opening the SQL database: SQLite (WAL) or PostgreSQL, one URL.

Callers see only ``streamproxy.errors``: what a driver raises is translated here, in one place. When the
database is locked, full, gone or not migrated, that is StoreUnavailableError and nothing is known about
the step; a value that the database will never take is BadRequestError.

On SQLite a commit survives the death of the process at once, the death of the machine within the next
checkpoint (``synchronous=NORMAL``: the file stays sound, the last commits may be missing).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from streamproxy.errors import ConfigurationError, StoreUnavailableError
from streamproxy.stores.sql.faults import translated
from streamproxy.stores.sql.lookups import Lookups, Query
from streamproxy.stores.sql.writer import Writer

# Connections of one worker process. A ledger writer and a few short reads need no more, and
# workers x 10 must stay below PostgreSQL's default of 100.
POOL_SIZE = 5
POOL_OVERFLOW = 5
# How long anything waits: for a pooled connection, for connecting, for one statement.
WAIT_SECONDS = 5.0
STATEMENT_SECONDS = 30.0

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


class Database:
    """An open database: short read and write transactions, ``ping`` and ``close``."""

    def __init__(self, engine: AsyncEngine, *, writer: Writer | None = None) -> None:
        self.engine = engine
        self._writing = engine.execution_options(writes=True)
        self._writer = writer
        self._lookups = Lookups(engine) if engine.dialect.name == "sqlite" else None

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        with translated():
            async with self.engine.begin() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes; committed at the end of the block, rolled back on any exception.

        On SQLite it takes the write lock at its begin: a read that turns into a write half-way fails
        with SQLITE_BUSY at once, whatever the busy timeout (https://sqlite.org/isolation.html).
        """
        with translated():
            async with self._writing.begin() as connection:
                yield connection

    @property
    def writing(self) -> Engine:
        """What ``write_by`` writes through."""
        return self.engine.sync_engine if self._writer is None else self._writer.engine

    async def write_by(self, work: Callable[[Connection], None]) -> None:
        """As ``write``, for who writes often: *work* is one transaction, which may be another thread's."""
        with translated():
            if self._writer is not None:
                await self._writer.run(work)
                return
            async with self._writing.begin() as connection:
                await connection.run_sync(work)

    async def look_up(self, query: Query, **values: Any) -> Sequence[Sequence[Any]]:
        """The rows of a query that is made once and asked often; *values* are its parameters."""
        if self._lookups is not None:
            with contextlib.suppress(sqlite3.Error, StoreUnavailableError):
                # What is wrong with the database is found out below, and told as ever.
                return await self._lookups.rows(query, values)
        async with self.read() as connection:
            return [*(await connection.execute(query.statement, values))]

    async def ping(self) -> None:
        """Return when the database answers; StoreUnavailableError otherwise."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        if self._lookups is not None:
            await self._lookups.close()
        if self._writer is not None:
            self._writer.close()
        await self.engine.dispose()


async def open_sql(
    url: str,
    *,
    busy_seconds: float = WAIT_SECONDS,
    statement_seconds: float = STATEMENT_SECONDS,
    pool_size: int = POOL_SIZE,
    pool_overflow: int = POOL_OVERFLOW,
) -> Database:
    """Open the database at *url* (``sqlite+aiosqlite:///path`` or ``postgresql+asyncpg://...``).

    It connects at first use, so an unreachable PostgreSQL is seen by ``ping``. An SQLite file that is
    not there is made, readable by its owner only. *busy_seconds* is how long SQLite waits for a lock,
    *statement_seconds* how long PostgreSQL may take for a statement; *pool_size* connections to PostgreSQL are
    kept, *pool_overflow* more are opened while all of them are busy.
    ConfigurationError when the URL names no database that we can open.
    """
    address = _checked(url)
    with _explained(address):
        if address.get_backend_name() == "sqlite":
            _make_file(Path(address.database or ""))
            return _sqlite(address, busy_seconds)
        return Database(_postgresql(address, statement_seconds, size=pool_size, overflow=pool_overflow))


def _checked(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError:
        # The text itself may hold a password: it is not repeated.
        raise ConfigurationError("DATABASE__URL is no database URL; " + _EXAMPLES) from None
    driver = _DRIVERS.get(address.drivername)
    if driver is None:
        raise ConfigurationError(f"DATABASE__URL: {address.drivername} is not supported; {_EXAMPLES}")
    if driver == "sqlite+aiosqlite" and address.database in (None, "", ":memory:"):
        raise ConfigurationError("DATABASE__URL: workers share the database, so it must be a file; " + _EXAMPLES)
    return address.set(drivername=driver)


_EXAMPLES = "write sqlite+aiosqlite:///./data/streamproxy.db or postgresql+asyncpg://user:password@host/database"


@contextlib.contextmanager
def _explained(address: URL) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as exc:
        remedy = "pip install 'streamproxy[postgresql]'"
        raise ConfigurationError(f"DATABASE__URL: {address.drivername} needs {exc.name}; {remedy}") from exc
    except OSError as exc:
        raise ConfigurationError(f"DATABASE__URL: cannot make {address.database}: {exc.strerror}") from exc


def _make_file(path: Path) -> None:
    """Make an empty database that only its owner can read. What is already there keeps its mode.

    O_EXCL matters: merely opening and closing an existing database file would drop the POSIX locks that
    this process holds on it (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _sqlite(address: URL, busy_seconds: float) -> Database:
    waits: dict[str, Any] = {"pool_timeout": WAIT_SECONDS, "max_overflow": 0, "connect_args": {"timeout": busy_seconds}}
    engine = create_async_engine(address, pool_size=POOL_SIZE, hide_parameters=True, **waits)
    writing = create_engine(address.set(drivername="sqlite"), pool_size=1, hide_parameters=True, **waits)
    _prepare_sqlite(engine.sync_engine)
    _prepare_sqlite(writing)
    return Database(engine, writer=Writer(writing.execution_options(writes=True)))


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: it begins them too late (see Database.write).
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(address: URL, statement_seconds: float, *, size: int, overflow: int) -> AsyncEngine:
    return create_async_engine(
        address,
        pool_size=size,
        max_overflow=overflow,
        pool_timeout=WAIT_SECONDS,
        # One round trip a checkout, so that a restarted server costs nobody a failed request.
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "timeout": WAIT_SECONDS,
            "command_timeout": statement_seconds,
            "server_settings": {"application_name": "streamproxy"},
        },
    )
