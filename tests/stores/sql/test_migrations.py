from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from tornado.ioloop import IOLoop

from streamproxy.errors import ConfigurationError, StoreUnavailableError
from streamproxy.stores.sql.connect import Database, open_sql
from streamproxy.stores.sql.migrations import migrate, pending
from streamproxy.stores.sql.models import metadata
from streamproxy.stores.sql.users import SqlUsers


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


async def test_models_and_migrations_agree(database: Database) -> None:
    """What the migrations make is what the models describe: tables, columns, types, keys and indexes."""
    async with database.read() as connection:
        assert await connection.run_sync(_differences) == []


def test_migrating_again_has_nothing_to_do(empty_url: str, io_loop: IOLoop) -> None:
    assert io_loop.run_sync(lambda: pending(empty_url)) is True
    assert migrate(empty_url) == ["0001"]
    assert io_loop.run_sync(lambda: pending(empty_url)) is False
    assert migrate(empty_url) == []


def test_processes_that_migrate_at_once_apply_each_step_once(empty_url: str) -> None:
    """Four workers starting together: one migrates, the others wait for it and find nothing left."""
    program = "import sys; from streamproxy.stores.sql.migrations import migrate; print(migrate(sys.argv[1]))"
    command = [sys.executable, "-c", program, empty_url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = Counter(process.communicate(timeout=60)[0].strip() for process in processes)
    assert said == {"['0001']": 1, "[]": 3}


async def _rename_revision(url: str) -> None:
    database = await open_sql(url)
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()


def test_a_database_of_a_newer_version_is_left_alone(sql_url: str, io_loop: IOLoop) -> None:
    """A roll-back of the program is told what to do, instead of working on tables it does not know."""
    io_loop.run_sync(lambda: _rename_revision(sql_url))
    with pytest.raises(ConfigurationError, match="newer"):
        migrate(sql_url)


async def test_a_database_that_was_not_migrated_is_unavailable(empty_url: str) -> None:
    database = await open_sql(empty_url)
    with pytest.raises(StoreUnavailableError):
        await SqlUsers(database).by_name("bob")
    await database.close()
