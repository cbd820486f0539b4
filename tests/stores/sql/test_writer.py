"""The thread that writes: in order, to the end, and whoever asked hears how it went."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import OperationalError

from streamproxy.stores.sql.writer import Writer


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (n INTEGER)")
    writer = Writer(engine)
    yield writer
    writer.close()


def numbers(writer: Writer) -> list[int]:
    with writer.engine.connect() as connection:
        return [n for (n,) in connection.exec_driver_sql("SELECT n FROM t")]


class Slow:
    """Work that inserts *number* when it is let go."""

    def __init__(self, number: int) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self._number = number

    def __call__(self, connection: Connection) -> None:
        self.begun.set()
        self.go.wait(10)
        connection.exec_driver_sql("INSERT INTO t VALUES (?)", (self._number,))


async def test_what_fails_is_rolled_back_and_told_to_who_asked(writer: Writer) -> None:
    """And the thread goes on."""

    def broken(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(OperationalError):
        await writer.run(broken)
    work = Slow(2)
    work.go.set()
    await writer.run(work)
    assert numbers(writer) == [2]


async def test_work_that_has_begun_ends_though_nobody_waits(writer: Writer) -> None:
    """What had not begun when its asker went is not done."""
    first, second = Slow(1), Slow(2)
    asking = [asyncio.create_task(writer.run(work)) for work in (first, second)]
    await asyncio.to_thread(first.begun.wait, 10)
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    first.go.set()
    second.go.set()
    await writer.run(lambda _: None)
    assert numbers(writer) == [1]


async def test_closed_it_ends_what_runs_and_takes_no_more(writer: Writer) -> None:
    work = Slow(1)
    asking = asyncio.create_task(writer.run(work))
    await asyncio.to_thread(work.begun.wait, 10)
    writer.close()
    with pytest.raises(RuntimeError, match="closed"):
        await writer.run(lambda _: None)
    work.go.set()
    await asking
    assert numbers(writer) == [1]


def test_a_process_that_never_closes_it_ends_with_its_work_done(tmp_path: Path) -> None:
    """Also where the loop of who asked is closed by then."""
    program = f"""
import asyncio, threading
from sqlalchemy import create_engine
from streamproxy.stores.sql.writer import Writer
engine = create_engine("sqlite:///{tmp_path}/x.db")
writer = Writer(engine)
begun, over = threading.Event(), threading.Event()
def slow(connection):
    begun.set()
    over.wait()
    connection.exec_driver_sql("CREATE TABLE late (n INTEGER)")
async def main():
    task = asyncio.create_task(writer.run(slow))
    await asyncio.to_thread(begun.wait)
asyncio.run(main())
over.set()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    with create_engine(f"sqlite:///{tmp_path}/x.db").connect() as connection:
        assert connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all() == ["late"]
