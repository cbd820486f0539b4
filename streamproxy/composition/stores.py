"""Opens what lasts and what all workers share: SQL with its ledger, and Redis."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from streamproxy.composition.start import Start
from streamproxy.metrics import Metrics
from streamproxy.stores.redis.connect import RedisLink, open_redis
from streamproxy.stores.sql.connect import Database, open_sql
from streamproxy.stores.sql.ledger import SqlLedger


@dataclass(frozen=True, slots=True)
class Stores:
    """The open stores of one worker."""

    database: Database
    redis: RedisLink
    ledger: SqlLedger


async def open_stores(start: Start, stack: AsyncExitStack, metrics: Metrics) -> Stores:
    """Closed by *stack*, the ledger first: it still has something to write."""
    pool = start.settings.database
    database = await open_sql(start.settings.database_url, pool_size=pool.pool_size, pool_overflow=pool.pool_overflow)
    stack.push_async_callback(database.close)
    redis = await open_redis(start.redis_url, timeout_seconds=start.settings.redis.timeout_seconds, watch=metrics.redis)
    stack.push_async_callback(redis.close)
    ledger = SqlLedger(database)
    await ledger.start()
    stack.push_async_callback(ledger.close)
    return Stores(database, redis, ledger)
