"""Short queries that are asked for many requests, on SQLite, past SQLAlchemy.

Through SQLAlchemy a query on SQLite is ten trips to the driver's thread (a cursor, BEGIN, the query, its rows,
ROLLBACK ...), half a millisecond of CPU in all; by the driver itself it is one. SQLAlchemy makes the statement and the
connection all the same. A single SELECT outside of a transaction sees one state of the database, as in one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streamproxy.stores.sql.faults import translated


@dataclass(frozen=True, eq=False)
class Query:
    """A SELECT with named parameters, made once. Its columns need no conversion, or the caller does it."""

    statement: Select[Any]

    @cached_property
    def on_sqlite(self) -> tuple[str, Sequence[str], Mapping[str, Any]]:
        """Its text, the names of its parameters in order, and the values of those that it sets itself."""
        compiled = self.statement.compile(dialect=sqlite.dialect(paramstyle="qmark"))
        return str(compiled), tuple(compiled.positiontup or ()), compiled.params


class Lookups:
    """One connection of its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._opening = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self._driver: Any = None

    async def rows(self, query: Query, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """sqlite3.Error as the driver raises it; StoreUnavailableError where there is no connection to be had."""
        if self._driver is None:
            await self._open()
        text, names, own = query.on_sqlite
        given = {**own, **values}
        rows: Sequence[Sequence[Any]] = await self._driver.execute_fetchall(text, [given[name] for name in names])
        return rows

    async def _open(self) -> None:
        async with self._opening:
            if self._driver is None:
                with translated():
                    self._connection = await self._engine.connect()
                    self._driver = (await self._connection.get_raw_connection()).driver_connection

    async def close(self) -> None:
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            await connection.close()
