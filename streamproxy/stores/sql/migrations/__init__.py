"""The schema's history, and bringing a database up to date.

Safe to run by any number of processes at once: each takes the database's own lock first (a PostgreSQL
advisory lock, SQLite's write lock) and finds nothing left to do when it is not the first. All steps are
one transaction on both databases: a migration that fails leaves the schema as it was.

To add one: a new file in ``versions`` in the shape of the newest; ``test_migrations`` compares the
outcome with ``models`` and says what is missing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from streamproxy.errors import ConfigurationError
from streamproxy.stores.sql.connect import open_sql

# Any number that nothing else in the database locks: "streamprx" read as a base-36 number.
_ADVISORY_LOCK = int("streamprx", 36)
# For another process's migration to end, or for one step of ours on a large table.
_PATIENCE_SECONDS = 600.0


def migrate(url: str) -> list[str]:
    """Bring the database at *url* up to date; return the revisions applied, oldest first.

    Runs a loop of its own: inside a running one, call it in a thread. StoreUnavailableError when the
    database does not answer, ConfigurationError when it was made by a newer streamproxy.
    """
    # A loop factory keeps the runner from replacing the thread's current loop, as asyncio.run does.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(_migrate(url))


async def pending(url: str) -> bool:
    """Whether ``migrate`` would have something to do."""
    database = await open_sql(url)
    try:
        async with database.read() as connection:
            present = await connection.run_sync(_revisions)
    finally:
        await database.close()
    return present != set(ScriptDirectory.from_config(_config()).get_heads())


async def _migrate(url: str) -> list[str]:
    database = await open_sql(url, busy_seconds=_PATIENCE_SECONDS, statement_seconds=_PATIENCE_SECONDS)
    try:
        async with database.write() as connection:
            if connection.dialect.name == "postgresql":
                # Ends with the transaction, whatever becomes of it.
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            return await connection.run_sync(_upgrade)
    finally:
        await database.close()


def _upgrade(connection: Connection) -> list[str]:
    config = _config()
    applied: list[str] = []
    config.attributes["connection"] = connection
    config.attributes["applied"] = applied
    try:
        command.upgrade(config, "head")
    except CommandError as exc:
        raise ConfigurationError(
            "The database was made by a newer streamproxy than this one; install that version, or restore a backup."
        ) from exc
    return applied


def _revisions(connection: Connection) -> set[str]:
    return set(MigrationContext.configure(connection).get_current_heads())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
