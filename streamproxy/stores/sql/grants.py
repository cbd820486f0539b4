"""Money granted to accounts, in SQL. Bad day: StoreUnavailableError, and nothing was granted or nothing is known."""

from __future__ import annotations

from sqlalchemy import func, insert, select

from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.models import grants


class SqlGrants:
    """Fills ``domain.ports.GrantStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, grant_id: str, user_id: str, nano_usd: int, created: float) -> None:
        row = {"id": grant_id, "user_id": user_id, "nano_usd": nano_usd, "created": created}
        async with self._database.write() as connection:
            await connection.execute(insert(grants), row)

    async def total(self, user_id: str) -> int:
        query = select(func.coalesce(func.sum(grants.c.nano_usd), 0)).where(grants.c.user_id == user_id)
        async with self._database.read() as connection:
            # PostgreSQL sums 64-bit columns to Decimal.
            return int((await connection.execute(query)).scalar_one())
