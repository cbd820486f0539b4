"""The number of questions a user has left, in SQL: reserved before a call, used up or given back after it.

A question that is being answered is a row of its own and ``users.questions_left`` goes down only with the
answer. So what an answer is told is told to no other, also when questions between were given back; and a
worker that is killed takes no question with it: its rows end by themselves.
Bad day: StoreUnavailableError, and no question is answered.
"""

from __future__ import annotations

from sqlalchemy import delete, func, insert, select, update

from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.models import reserved_questions as reserved
from streamproxy.stores.sql.models import users


class SqlQuestions:
    """Fills ``domain.ports.QuestionStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, user_id: str, request_id: str, *, now: float, until: float) -> bool:
        """Hold one question until *until*; False when those left are all held or used up."""
        # The lock on the user's row orders requests on PostgreSQL; SQLite has one writer anyway.
        left_of = select(users.c.questions_left).where(users.c.id == user_id, users.c.disabled.is_(False))
        held_by = select(func.count()).where(reserved.c.user_id == user_id)
        async with self._database.write() as connection:
            row = (await connection.execute(left_of.with_for_update())).one_or_none()
            if row is None:
                return False
            if row.questions_left is None:
                return True
            ended = (reserved.c.user_id == user_id) & (reserved.c.until <= now)
            await connection.execute(delete(reserved).where(ended))
            held = (await connection.execute(held_by)).scalar_one()
            if held >= row.questions_left:
                return False
            await connection.execute(insert(reserved), {"request_id": request_id, "user_id": user_id, "until": until})
            return True

    async def settle(self, user_id: str, request_id: str) -> int | None:
        """Use the question up. How many are left after it; None where the user has any number."""
        # More than 0 always, but for a request that outlived its reservation: nothing goes negative then either.
        use = update(users).where(users.c.id == user_id, users.c.questions_left > 0)
        use = use.values(questions_left=users.c.questions_left - 1)
        async with self._database.write() as connection:
            await connection.execute(delete(reserved).where(reserved.c.request_id == request_id))
            used = (await connection.execute(use.returning(users.c.questions_left))).one_or_none()
            if used is not None:
                return int(used.questions_left)
            left = await connection.execute(select(users.c.questions_left).where(users.c.id == user_id))
            return left.scalar_one_or_none()

    async def refund(self, request_id: str) -> None:
        """Hold the question no longer."""
        async with self._database.write() as connection:
            await connection.execute(delete(reserved).where(reserved.c.request_id == request_id))
