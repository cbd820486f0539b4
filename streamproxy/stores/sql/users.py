"""Accounts in SQL. Bad day: StoreUnavailableError, and nobody is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, insert, select, update

from streamproxy.domain.identity import Role
from streamproxy.domain.ports import User, UserChanges
from streamproxy.errors import ConflictError, NotFoundError
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.models import users

# The columns that make a User, in the order of its fields.
USER_COLUMNS = (
    users.c.id,
    users.c.name,
    users.c.role,
    users.c.disabled,
    users.c.password_hash,
    users.c.openid,
    users.c.email,
    users.c.questions_left,
    users.c.created,
)


def to_user(row: Sequence[Any]) -> User:
    """The value of a row selected with USER_COLUMNS."""
    identity, name, role, *rest = row
    return User(identity, name, Role(role), *rest)


class SqlUsers:
    """Fills ``domain.ports.UserStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, user: User) -> None:
        row = {column.name: getattr(user, column.name) for column in USER_COLUMNS}
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(users), row)
        except ConflictError as exc:
            taken = f"The name {user.name!r} is taken"
            raise ConflictError(f"{taken}, or its openid is." if user.openid else f"{taken}.") from exc

    async def by_name(self, name: str) -> User | None:
        return await self._one(users.c.name == name)

    async def by_id(self, user_id: str) -> User | None:
        return await self._one(users.c.id == user_id)

    async def by_openid(self, openid: str) -> User | None:
        return await self._one(users.c.openid == openid)

    async def page(self, *, after: str = "", limit: int = 100) -> Sequence[User]:
        """Users in order of name (of its bytes, on every database), those after the name *after*."""
        query = select(*USER_COLUMNS).where(users.c.name > after).order_by(users.c.name).limit(limit)
        async with self._database.read() as connection:
            return [to_user(row) for row in await connection.execute(query)]

    async def change(self, user_id: str, changes: UserChanges) -> None:
        """Change the fields that are there. NotFoundError when there is no such user."""
        if changes:
            await self._change(user_id, users.c.id == user_id, **changes)

    async def set_password_hash(self, user_id: str, password_hash: str, *, replacing: str | None = None) -> None:
        """Keep *password_hash*. With *replacing*, only where that is the hash still kept: else nobody is changed."""
        if replacing is None:
            await self._change(user_id, users.c.id == user_id, password_hash=password_hash)
            return
        still = (users.c.id == user_id) & (users.c.password_hash == replacing)
        async with self._database.write() as connection:
            await connection.execute(update(users).where(still).values(password_hash=password_hash))

    async def _one(self, condition: ColumnElement[bool]) -> User | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(*USER_COLUMNS).where(condition))).one_or_none()
        return None if row is None else to_user(row)

    async def _change(self, user_id: str, condition: ColumnElement[bool], **values: Any) -> None:
        async with self._database.write() as connection:
            done = await connection.execute(update(users).where(condition).values(**values))
        if done.rowcount == 0:
            raise NotFoundError(f"There is no user {user_id!r}.", code="user_not_found")
