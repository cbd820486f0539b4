"""Everybody's usage in pages, for admins. Bad day: StoreUnavailableError."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import Integer, cast, func, select, tuple_

from streamproxy.domain.ports import Failure, UsageSummary, UserUsage
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.models import usage, users
from streamproxy.stores.sql.records import record_of

_EPOCH = date(1970, 1, 1)


class SqlUsageReport:
    """Fills ``domain.ports.UsageReport``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, *, first_day: int, last_day: int, user_id: str | None, after: tuple[int, str, str] | None, limit: int
    ) -> Sequence[UserUsage]:
        """By day, user and model, both days included (UTC days since 1970), those after that day, user and model."""
        place = (usage.c.day, usage.c.user_id, usage.c.model)
        estimated = cast(usage.c.estimated, Integer)
        counted = (usage.c.prompt_tokens, usage.c.completion_tokens, estimated, usage.c.cost_nano_usd)
        query = (
            select(*place, users.c.name, func.count(), *map(func.sum, counted))
            .outerjoin(users, users.c.id == usage.c.user_id)
            .where(usage.c.day.between(first_day, last_day))
            .group_by(*place, users.c.name)
            .order_by(*place)
            .limit(limit)
        )
        if user_id is not None:
            query = query.where(usage.c.user_id == user_id)
        if after is not None:
            query = query.where(tuple_(*place) > after)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        # PostgreSQL sums 64-bit columns to Decimal.
        return [
            UserUsage(user, name, UsageSummary((_EPOCH + timedelta(day)).isoformat(), model, *map(int, counts)))
            for day, user, model, name, *counts in rows
        ]

    async def failures(self, *, first_day: int, after: str, limit: int) -> Sequence[Failure] | None:
        """Streams that ended with an error since that day, the newest first, those after *after*; None if unknown."""
        place = (usage.c.created, usage.c.stream_id)
        query = (
            select(usage, users.c.name)
            .outerjoin(users, users.c.id == usage.c.user_id)
            .where(usage.c.day >= first_day, usage.c.error_code.is_not(None))
            .order_by(*(column.desc() for column in place))
            .limit(limit)
        )
        async with self._database.read() as connection:
            if after:
                found = (await connection.execute(select(*place).where(usage.c.stream_id == after))).one_or_none()
                if found is None:
                    return None
                query = query.where(tuple_(*place) < tuple(found))
            rows = (await connection.execute(query)).mappings().all()
        return [Failure(record_of(row), row[users.c.name]) for row in rows]
