"""The ledger's rows: from values to rows and back, and its three statements."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, timedelta
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    RowMapping,
    Table,
    bindparam,
    cast,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from streamproxy.domain.ports import UsageSummary
from streamproxy.domain.streams import EndReason, HistoryMessage, Usage, UsageRecord
from streamproxy.stores.sql.backlog import Entry, Row
from streamproxy.stores.sql.lookups import Query
from streamproxy.stores.sql.models import messages, usage

_EPOCH = date(1970, 1, 1)
_DAY_SECONDS = 86400
_OF_USAGE, _OF_MESSAGE = Usage.__struct_fields__, HistoryMessage.__struct_fields__
# Where each column of a usage row stands in a record; the day is computed.
_IN_RECORD = {
    **{name: name for name in UsageRecord.__struct_fields__ if name != "usage"},
    **{name: f"usage.{name}" for name in _OF_USAGE},
    # As ``value``, which is a property of two calls.
    "end_reason": "end_reason._value_",
}
_usage_values: Callable[[UsageRecord], Row] = attrgetter(*_IN_RECORD.values())
_message_values: Callable[[HistoryMessage], Row] = attrgetter(*_OF_MESSAGE)
_USAGE_COLUMNS = (*_IN_RECORD, "day")
# Who speaks in a conversation.
REMARK_ROLES = ("user", "assistant")


def rows_of(record: UsageRecord, history: Iterable[HistoryMessage]) -> tuple[Row, list[Row]]:
    """The row of *record* in ``usage``, in the order of ``_USAGE_COLUMNS``, and those of *history* in ``messages``.

    A client chooses model names and messages: NUL and lone surrogates, which no database stores, are replaced.
    """
    row, said = (*_usage_values(record), int(record.created // _DAY_SECONDS)), list(map(_message_values, history))
    # One look at all of it, as nearly always there is nothing to replace.
    texts = "".join([value for values in (row, *said) for value in values if type(value) is str])
    if texts.isascii() and "\x00" not in texts:
        return row, said
    return tuple(map(_storable, row)), [tuple(map(_storable, values)) for values in said]


def _storable(value: Any) -> Any:
    if type(value) is not str or (value.isascii() and "\x00" not in value):
        return value
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def insert_entries(connection: Connection, batch: Sequence[Entry]) -> None:
    """Insert the entries whose stream is not in the ledger yet; the others change nothing."""
    first = {entry.stream_id: entry for entry in reversed(batch)}
    if connection.dialect.name == "sqlite":
        _insert_on_sqlite(connection, first.values())
        return
    statement = postgresql.insert(usage).on_conflict_do_nothing().returning(usage.c.stream_id)
    new = connection.execute(statement, [_named(_USAGE_COLUMNS, entry.usage) for entry in first.values()])
    said = [_named(_OF_MESSAGE, row) for stream_id in new.scalars() for row in first[stream_id].messages]
    if said:
        connection.execute(insert(messages), said)


def _named(names: Sequence[str], row: Row) -> dict[str, Any]:
    return dict(zip(names, row, strict=True))


def _insert_on_sqlite(connection: Connection, entries: Collection[Entry]) -> None:
    """By the driver, row for row: SQLAlchemy takes twenty microseconds to make a row's statement of its values.

    Nobody else writes meanwhile, for the transaction holds the write lock from its beginning: what ``usage`` has of
    these streams before is what it had of them, and nearly always that is none.
    """
    ids = msgspec.json.encode([entry.stream_id for entry in entries]).decode()
    known = {*connection.exec_driver_sql(_KNOWN_STREAMS, (ids,)).scalars()}
    new = [entry for entry in entries if entry.stream_id not in known] if known else entries
    if new:
        connection.exec_driver_sql(_INSERT_USAGE, [entry.usage for entry in new])
    if said := [row for entry in new for row in entry.messages]:
        connection.exec_driver_sql(_INSERT_MESSAGE, said)


def _insert_into(table: Table, columns: Sequence[str]) -> str:
    """The text of an insert, made of names of ours alone."""
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - see above


_KNOWN_STREAMS = "SELECT stream_id FROM usage WHERE stream_id IN (SELECT value FROM json_each(?))"
_INSERT_USAGE = _insert_into(usage, _USAGE_COLUMNS)
_INSERT_MESSAGE = _insert_into(messages, _OF_MESSAGE)


async def read_history(
    connection: AsyncConnection,
    user_id: str,
    *,
    roles: Sequence[str] = (),
    limit: int,
) -> list[HistoryMessage]:
    """The newest *limit* messages, of *roles* when given, oldest first."""
    columns = [messages.c[name] for name in _OF_MESSAGE]
    query = select(*columns).where(messages.c.user_id == user_id)
    if roles:
        query = query.where(messages.c.role.in_(roles))
    newest = (messages.c.created.desc(), messages.c.stream_id.desc(), messages.c.position.desc())
    rows = await connection.execute(query.order_by(*newest).limit(limit))
    return [HistoryMessage(*row) for row in reversed(rows.all())]


def _of_session() -> Query:
    columns = [messages.c[name] for name in _OF_MESSAGE]
    newest = (messages.c.created.desc(), messages.c.stream_id.desc(), messages.c.position.desc())
    session = (messages.c.user_id == bindparam("user_id")) & (messages.c.session_id == bindparam("session_id"))
    return Query(select(*columns).where(session).order_by(*newest).limit(bindparam("limit")))


# Asked for the first turn of every session.
OF_SESSION = _of_session()


def session_messages(rows: Sequence[Sequence[Any]]) -> list[HistoryMessage]:
    """The rows of ``OF_SESSION``, oldest first."""
    # SQLite has no booleans.
    return [HistoryMessage(*[*values, bool(complete)]) for *values, complete in reversed(rows)]


async def read_record(connection: AsyncConnection, stream_id: str) -> UsageRecord | None:
    """The usage row of one stream."""
    row = (await connection.execute(select(usage).where(usage.c.stream_id == stream_id))).mappings().one_or_none()
    return None if row is None else record_of(row)


def record_of(row: RowMapping) -> UsageRecord:
    """The record that a row of ``usage`` holds; the row may hold more."""
    tokens = Usage(**{name: row[usage.c[name]] for name in _OF_USAGE})
    own = {name: row[usage.c[name]] for name in UsageRecord.__struct_fields__ if name in usage.c}
    return UsageRecord(**{**own, "usage": tokens, "end_reason": EndReason(own["end_reason"])})


async def detach_session(connection: AsyncConnection, user_id: str, session_id: str) -> int:
    """Let the messages of a session belong to none."""
    rows = (messages.c.user_id == user_id) & (messages.c.session_id == session_id)
    return (await connection.execute(update(messages).where(rows).values(session_id=None))).rowcount


async def count_accepted(
    connection: AsyncConnection, user_id: str, endpoints: Sequence[str], *, since: float, until: float
) -> int:
    """Streams that were not refunded: as ``services.exchange`` settles them."""
    counted = usage.c.ttft_ms.is_not(None) | (usage.c.end_reason == EndReason.CLIENT_GONE.value)
    query = select(func.count()).where(
        usage.c.user_id == user_id, *_within(since, until), usage.c.endpoint.in_(endpoints), counted
    )
    return int((await connection.execute(query)).scalar_one())


async def read_usage(connection: AsyncConnection, user_id: str, *, since: float, until: float) -> list[UsageSummary]:
    """Sums by UTC day and model."""
    estimated = cast(usage.c.estimated, Integer)
    tokens = (usage.c.prompt_tokens, usage.c.completion_tokens)
    sums = [func.sum(column) for column in (*tokens, estimated, usage.c.cost_nano_usd)]
    query = (
        select(usage.c.day, usage.c.model, func.count(), *sums)
        .where(usage.c.user_id == user_id, *_within(since, until))
        .group_by(usage.c.day, usage.c.model)
        .order_by(usage.c.day, usage.c.model)
    )
    rows = await connection.execute(query)
    # PostgreSQL sums 64-bit columns to Decimal.
    return [UsageSummary(_iso(day), model, *map(int, counts)) for day, model, *counts in rows]


async def read_calls(connection: AsyncConnection, key_ids: Sequence[str]) -> dict[str, int]:
    """How many streams each key answered."""
    query = select(usage.c.key_id, func.count()).where(usage.c.key_id.in_(key_ids)).group_by(usage.c.key_id)
    return {str(key_id): int(calls) for key_id, calls in await connection.execute(query)}


def _within(since: float, until: float) -> tuple[ColumnElement[bool], ...]:
    return (usage.c.created >= since, usage.c.created < until)


def _iso(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()
