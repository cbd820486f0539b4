"""Bearers of which a user has one a purpose, in SQL.

A unique constraint on (user, purpose) decides between calls at the same moment, whichever worker they reach.
What is kept are the claims, not the bearer: it is signed again from them, so a stolen database holds no credential.
Bad day: StoreUnavailableError, and nobody gets a bearer or is recognised by one.
"""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from streamproxy.domain.ports import KeptBearer, User
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.models import bearers, users
from streamproxy.stores.sql.users import USER_COLUMNS, to_user


class SqlKeptBearers:
    """Fills ``domain.ports.KeptBearers``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, fresh: KeptBearer) -> KeptBearer:
        """The live bearer of that user and purpose: the one kept before, else *fresh*, kept from now on."""
        while True:
            async with self._database.write() as connection:
                kept = await self._kept_or(fresh, connection)
            # None when what was in the way has been revoked in between.
            if kept is not None:
                return kept

    async def _kept_or(self, fresh: KeptBearer, connection: AsyncConnection) -> KeptBearer | None:
        same = (bearers.c.user_id == fresh.user_id) & (bearers.c.purpose == fresh.purpose)
        await connection.execute(delete(bearers).where(same & (bearers.c.expires <= fresh.issued)))
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        row = {
            "jti": fresh.jti,
            "user_id": fresh.user_id,
            "purpose": fresh.purpose,
            "issued": fresh.issued,
            "expires": fresh.expires,
        }
        # Waits for a transaction that is just inserting the same, and then inserts nothing.
        insert = dialect.insert(bearers).on_conflict_do_nothing(index_elements=["user_id", "purpose"])
        if (await connection.execute(insert.values(row).returning(bearers.c.jti))).one_or_none() is not None:
            return fresh
        query = select(bearers.c.jti, bearers.c.issued, bearers.c.expires).where(same)
        found = (await connection.execute(query)).one_or_none()
        return found and KeptBearer(found.jti, fresh.user_id, fresh.purpose, int(found.issued), int(found.expires))

    async def kept_user(self, jti: str, purpose: str) -> User | None:
        """The user who has this bearer for *purpose*, not disabled. None otherwise."""
        query = select(*USER_COLUMNS).join(bearers, bearers.c.user_id == users.c.id)
        query = query.where(bearers.c.jti == jti, bearers.c.purpose == purpose, users.c.disabled.is_(False))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else to_user(row)
