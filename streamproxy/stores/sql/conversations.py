"""The history by session, in pages. Bad day: StoreUnavailableError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, Select, func, select, tuple_, update

from streamproxy.domain.conversations import Conversation, Remembered
from streamproxy.domain.streams import HistoryMessage
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.models import messages, usage
from streamproxy.stores.sql.records import record_of

_PLACE = (messages.c.created, messages.c.stream_id, messages.c.position)


class SqlConversations:
    """Fills ``domain.ports.Conversations``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, user_id: str, *, after: str = "", limit: int) -> Sequence[Conversation] | None:
        """The user's sessions, the one spoken in last first, those after the session *after*; None if unknown."""
        updated = func.max(messages.c.created)
        query = (
            select(messages.c.session_id, func.min(messages.c.created), updated, func.count())
            .where(messages.c.user_id == user_id, messages.c.session_id.is_not(None))
            .group_by(messages.c.session_id)
            .order_by(updated.desc(), messages.c.session_id.desc())
            .limit(limit)
        )
        async with self._database.read() as connection:
            if after:
                newest = (await connection.execute(_newest(user_id, after))).scalar_one()
                if newest is None:
                    return None
                query = query.having(tuple_(updated, messages.c.session_id) < (newest, after))
            rows = (await connection.execute(query)).all()
            openings = (await connection.execute(_openings(user_id, [row[0] for row in rows]))).all()
        said = {session_id: message for session_id, message, _ in openings}
        return [
            Conversation(session_id, said.get(session_id, ""), begun, last, count)
            for session_id, begun, last, count in rows
        ]

    async def messages(
        self, user_id: str, session_id: str, *, before: tuple[str, int] | None = None, limit: int
    ) -> Sequence[Remembered] | None:
        """The newest *limit*, newest first, of those before (stream id, position); None if that is unknown."""
        own = (messages.c.user_id == user_id, messages.c.session_id == session_id)
        query = select(messages, usage).outerjoin(usage, usage.c.stream_id == messages.c.stream_id).where(*own)
        newest_first = [column.desc() for column in _PLACE]
        async with self._database.read() as connection:
            if before is not None:
                place = select(*_PLACE).where(*own, messages.c.stream_id == before[0], messages.c.position == before[1])
                found = (await connection.execute(place)).one_or_none()
                if found is None:
                    return None
                query = query.where(tuple_(*_PLACE) < tuple(found))
            rows = (await connection.execute(query.order_by(*newest_first).limit(limit))).mappings().all()
        return [_remembered(row) for row in rows]

    async def rewind(self, user_id: str, session_id: str, stream_id: str) -> int:
        """Take the messages of this stream and of all after it out of the session."""
        own = (messages.c.user_id == user_id) & (messages.c.session_id == session_id)
        begun = select(func.min(messages.c.created)).where(own, messages.c.stream_id == stream_id).scalar_subquery()
        async with self._database.write() as connection:
            changed = await connection.execute(
                update(messages).where(own, messages.c.created >= begun).values(session_id=None)
            )
            return changed.rowcount


def _newest(user_id: str, session_id: str) -> Select[tuple[Any]]:
    return select(func.max(messages.c.created)).where(
        messages.c.user_id == user_id, messages.c.session_id == session_id
    )


def _openings(user_id: str, session_ids: Sequence[str]) -> Select[tuple[Any, ...]]:
    """The first question of each session."""
    number = func.row_number().over(partition_by=messages.c.session_id, order_by=_PLACE).label("number")
    asked = (
        select(messages.c.session_id, messages.c.message, number)
        .where(messages.c.user_id == user_id, messages.c.session_id.in_(session_ids), messages.c.role == "user")
        .subquery()
    )
    return select(asked).where(asked.c.number == 1)


def _remembered(row: RowMapping) -> Remembered:
    said = HistoryMessage(**{name: row[messages.c[name]] for name in HistoryMessage.__struct_fields__})
    return Remembered(said, None if row[usage.c.stream_id] is None else record_of(row))
