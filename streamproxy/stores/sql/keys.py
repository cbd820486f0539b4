"""Provider keys that people added, encrypted, and which keys people took out of use.

Bad day: StoreUnavailableError; the workers go on with what they read before. A key that was sealed under
another secret is listed without its secret: nobody can use it, everybody can see why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from sqlalchemy import Row, delete, insert, select

from streamproxy.domain.limits import LimitPolicy, parse_limits, spell_limits
from streamproxy.domain.ports import StoredKey
from streamproxy.errors import ConflictError
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.models import held_keys, keys
from streamproxy.stores.sql.sealing import Seal


class SqlKeys:
    """Fills ``domain.ports.KeyStore``. *clock* gives epoch seconds."""

    def __init__(self, database: Database, seal: Seal, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._seal = seal
        self._clock = clock

    async def add(self, key: StoredKey) -> None:
        """Keep it; ConflictError when it is there already."""
        limits = key.limits
        row = {
            "id": key.id,
            "upstream": key.upstream,
            "secret": self._seal.close(key.secret or ""),
            "last4": key.last4,
            "weight": key.weight,
            "requests": None if limits is None else spell_limits(limits.requests),
            "tokens": None if limits is None else spell_limits(limits.tokens),
            "streams": None if limits is None else limits.streams,
            "created": key.created or self._clock(),
        }
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(keys), row)
        except ConflictError as exc:
            raise ConflictError(f"The key …{key.last4} of {key.upstream} is there already.") from exc

    async def all(self) -> Sequence[StoredKey]:
        """Every key, in the order of being added."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(keys).order_by(keys.c.created, keys.c.id))).all()
        return [self._key(row) for row in rows]

    def _key(self, row: Row[tuple[object, ...]]) -> StoredKey:
        limits = None
        if row.requests is not None:
            limits = LimitPolicy(parse_limits(row.requests), parse_limits(row.tokens), row.streams)
        secret = self._seal.open(row.secret)
        return StoredKey(row.id, row.upstream, secret, row.last4, row.weight, limits, row.created)

    async def remove(self, key_id: str) -> bool:
        """False when there was none. That it was held is forgotten with it."""
        async with self._database.write() as connection:
            await connection.execute(delete(held_keys).where(held_keys.c.id == key_id))
            return (await connection.execute(delete(keys).where(keys.c.id == key_id))).rowcount > 0

    async def held(self) -> Collection[str]:
        """The ids of the keys that people disabled."""
        async with self._database.read() as connection:
            return frozenset((await connection.execute(select(held_keys.c.id))).scalars())

    async def hold(self, key_id: str) -> None:
        """Take a key out of use until it is released. Once is as good as twice."""
        async with self._database.write() as connection:
            await connection.execute(delete(held_keys).where(held_keys.c.id == key_id))
            await connection.execute(insert(held_keys), {"id": key_id, "since": self._clock()})

    async def release(self, key_id: str) -> bool:
        """False when it was not held."""
        async with self._database.write() as connection:
            return (await connection.execute(delete(held_keys).where(held_keys.c.id == key_id))).rowcount > 0
