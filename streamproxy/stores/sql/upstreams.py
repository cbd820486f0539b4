"""Upstreams that people added. Bad day: StoreUnavailableError; the workers go on with what they read before."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Row, delete, insert, select

from streamproxy.domain.keypool import Upstream
from streamproxy.domain.limits import LimitPolicy, parse_limits, spell_limits
from streamproxy.domain.ports import StoredUpstream
from streamproxy.domain.quirks import NO_QUIRKS, Quirks
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.models import upstreams


class _Options(msgspec.Struct, omit_defaults=True):
    """What the column ``options`` holds. What a newer version wrote there and this one does not know is ignored."""

    quirks: Quirks = NO_QUIRKS
    allow_private: bool = False


class SqlUpstreams:
    """Fills ``domain.ports.UpstreamStore``. *clock* gives epoch seconds."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def put(self, upstream: StoredUpstream) -> None:
        """Keep it under its name, instead of the one that was there. Its keys are not kept here."""
        entry, limits = upstream.upstream, upstream.key_limits
        row = {
            "name": entry.name,
            "dialect": entry.dialect,
            "base_url": entry.base_url,
            "models": msgspec.json.encode(dict(entry.models)).decode(),
            "priority": entry.priority,
            "weight": entry.weight,
            "options": msgspec.json.encode(_Options(entry.quirks, entry.allow_private)).decode(),
            "key_requests": spell_limits(limits.requests),
            "key_tokens": spell_limits(limits.tokens),
            "key_streams": limits.streams,
            "created": self._clock(),
        }
        async with self._database.write() as connection:
            await connection.execute(delete(upstreams).where(upstreams.c.name == entry.name))
            await connection.execute(insert(upstreams), row)

    async def all(self) -> Sequence[StoredUpstream]:
        """In order of name."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(upstreams).order_by(upstreams.c.name))).all()
        return [_upstream(row) for row in rows]

    async def remove(self, name: str) -> bool:
        """False when there was none. Its keys stay, for the day it is back."""
        async with self._database.write() as connection:
            return (await connection.execute(delete(upstreams).where(upstreams.c.name == name))).rowcount > 0


def _upstream(row: Row[tuple[object, ...]]) -> StoredUpstream:
    options = msgspec.json.decode(row.options, type=_Options)
    entry = Upstream(
        name=row.name,
        dialect=row.dialect,
        base_url=row.base_url,
        models=msgspec.json.decode(row.models, type=dict[str, str]),
        priority=row.priority,
        weight=row.weight,
        quirks=options.quirks,
        allow_private=options.allow_private,
    )
    return StoredUpstream(
        entry, LimitPolicy(parse_limits(row.key_requests), parse_limits(row.key_tokens), row.key_streams)
    )
