"""Bearers by ``jti`` and API tokens by hash, in SQL.

A bearer is live while its row is there: revoking deletes it. Rows of expired bearers are useless (the
bearer itself says that it has expired) and go when their user gets the next one, so that a program
that signs in every minute does not fill the disk.
Bad day: StoreUnavailableError, and no credential is recognised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import delete, insert, select, tuple_, update

from streamproxy.domain.ports import ApiToken, User
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.models import api_tokens, bearers, users
from streamproxy.stores.sql.users import USER_COLUMNS, to_user


class SqlCredentials:
    """Fills ``domain.ports.CredentialStore``. *clock* gives epoch seconds."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def add_bearer(self, jti: str, user_id: str, expires: float) -> None:
        expired = (bearers.c.user_id == user_id) & (bearers.c.expires <= self._clock())
        async with self._database.write() as connection:
            await connection.execute(delete(bearers).where(expired))
            await connection.execute(insert(bearers), {"jti": jti, "user_id": user_id, "expires": expires})

    async def bearer_user(self, jti: str) -> User | None:
        """The user of a live bearer: not revoked, the user not disabled. None otherwise."""
        query = select(*USER_COLUMNS).join(bearers, bearers.c.user_id == users.c.id)
        query = query.where(bearers.c.jti == jti, users.c.disabled.is_(False))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else to_user(row)

    async def revoke_bearer(self, jti: str) -> bool:
        """False when there was none."""
        async with self._database.write() as connection:
            return (await connection.execute(delete(bearers).where(bearers.c.jti == jti))).rowcount > 0

    async def revoke_bearers_of(self, user_id: str) -> int:
        """How many there were."""
        async with self._database.write() as connection:
            return (await connection.execute(delete(bearers).where(bearers.c.user_id == user_id))).rowcount

    async def add_api_token(self, token: ApiToken, token_hash: bytes) -> None:
        row = {
            "id": token.id,
            "user_id": token.user_id,
            "token_hash": token_hash,
            "label": token.label,
            "last4": token.last4,
            "created": token.created,
            "revoked": token.revoked,
        }
        async with self._database.write() as connection:
            await connection.execute(insert(api_tokens), row)

    async def api_token_user(self, token_hash: bytes) -> tuple[str, User] | None:
        """Token id and user of a live API token: not revoked, the user not disabled. None otherwise."""
        query = select(api_tokens.c.id, *USER_COLUMNS).join(users, users.c.id == api_tokens.c.user_id)
        query = query.where(
            api_tokens.c.token_hash == token_hash, api_tokens.c.revoked.is_(False), users.c.disabled.is_(False)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else (row[0], to_user(row[1:]))

    async def api_tokens(
        self, user_id: str | None = None, *, after: str = "", limit: int | None = None
    ) -> Sequence[ApiToken]:
        """API tokens in the order they were made, revoked ones included: of one user when given, those after
        the token *after* (none at all when that was never made), at most *limit*."""
        query = select(
            api_tokens.c.id,
            api_tokens.c.user_id,
            users.c.name,
            api_tokens.c.label,
            api_tokens.c.last4,
            api_tokens.c.created,
            api_tokens.c.revoked,
        ).join(users, users.c.id == api_tokens.c.user_id)
        if user_id is not None:
            query = query.where(api_tokens.c.user_id == user_id)
        if after:
            place = tuple_(api_tokens.c.created, api_tokens.c.id)
            before = select(api_tokens.c.created, api_tokens.c.id).where(api_tokens.c.id == after)
            query = query.where(place > before.scalar_subquery())
        query = query.order_by(api_tokens.c.created, api_tokens.c.id).limit(limit)
        async with self._database.read() as connection:
            return [ApiToken(*row) for row in await connection.execute(query)]

    async def revoke_api_token(self, token_id: str) -> bool:
        """False when there is none by that id, or it was revoked before."""
        live = (api_tokens.c.id == token_id) & api_tokens.c.revoked.is_(False)
        async with self._database.write() as connection:
            return (await connection.execute(update(api_tokens).where(live).values(revoked=True))).rowcount > 0
