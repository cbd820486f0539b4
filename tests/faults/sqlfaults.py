"""What happens to a database: each fault lasts as long as its ``with``, and everything is well again behind it.

A full disk comes in two kinds. The real one, ENOSPC on a file system that is filled, is there for whoever may mount
one. Files that may not grow (RLIMIT_FSIZE: EFBIG) are there for everybody; to a database it is the same refusal under
another name.
"""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TypeAlias

import psutil  # type: ignore[import-untyped]

from tests.e2e.server import Server
from tests.support.postgres_server import PostgresServer
from tests.support.smalldisk import full, may_mount

Fault: TypeAlias = Callable[[Server], AbstractContextManager[None]]
PostgresFault: TypeAlias = Callable[[PostgresServer, Path | None], AbstractContextManager[None]]
# Larger than any other file that a worker writes (its log), smaller than what makes SQLite begin its log anew (4 MB).
LOG_BYTES = 3 << 20
# The smallest that initdb makes. Tables of ours reach it sooner than PostgreSQL's own.
SEGMENT_BYTES = 1 << 20


def path_of(server: Server) -> Path:
    """SQLite's file."""
    return Path(server.database_url.removeprefix("sqlite+aiosqlite:///"))


@contextmanager
def locked(server: Server) -> Iterator[None]:
    """Another process holds SQLite's write lock: a backup, or somebody's forgotten transaction."""
    with closing(sqlite3.connect(path_of(server), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def without_room(server: Server) -> Iterator[None]:
    """SQLite's file system is full."""
    with full(path_of(server).parent):
        yield


@contextmanager
def not_to_grow(server: Server) -> Iterator[None]:
    """No file of a worker may become larger than SQLite's log is now."""
    with closing(sqlite3.connect(path_of(server), isolation_level=None)) as connection:
        connection.execute("CREATE TABLE ballast (x)")
        connection.execute("INSERT INTO ballast VALUES (zeroblob(?))", (LOG_BYTES,))
        log = path_of(server).with_name(path_of(server).name + "-wal")
        _limit_files(server.worker_pids(), log.stat().st_size)
        try:
            yield
        finally:
            _limit_files(server.worker_pids(), resource.RLIM_INFINITY)


def _limit_files(pids: Sequence[int], size: int) -> None:
    for process in map(psutil.Process, pids):
        process.rlimit(resource.RLIMIT_FSIZE, (size, process.rlimit(resource.RLIMIT_FSIZE)[1]))


FAULTS: dict[str, Fault] = {"locked": locked, "not to grow": not_to_grow}
if may_mount():
    FAULTS["without room"] = without_room


@contextmanager
def tables_not_to_grow(postgres: PostgresServer, _disk: Path | None) -> Iterator[None]:
    """No file of PostgreSQL's may become larger than a segment of its log, which it writes whole."""
    postgres.limit_files(SEGMENT_BYTES)
    try:
        yield
    finally:
        postgres.limit_files(None)


@contextmanager
def tables_without_room(_postgres: PostgresServer, disk: Path | None) -> Iterator[None]:
    """The file system of the tables is full; the log has its own."""
    assert disk is not None
    with full(disk):
        yield


# By whether the tables are on a disk of their own. A log (pg_wal) without room is none of these: PostgreSQL ends itself
# then (PANIC), and to a worker it is gone.
POSTGRES_FAULTS: dict[str, tuple[bool, PostgresFault]] = {"not to grow": (False, tables_not_to_grow)}
if may_mount():
    POSTGRES_FAULTS["without room"] = (True, tables_without_room)
