"""The open keyring that commands about provider keys work on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from streamproxy.services.catalogue import Catalogue
from streamproxy.services.keyring import Keyring
from streamproxy.settings import Settings
from streamproxy.settings.providers import configured_upstreams, encryption_secret, spare_upstream
from streamproxy.stores.redis.connect import open_redis
from streamproxy.stores.redis.keystates import RedisKeyStates
from streamproxy.stores.redis.whereabouts import find
from streamproxy.stores.sql.connect import open_sql
from streamproxy.stores.sql.keys import SqlKeys
from streamproxy.stores.sql.migrations import migrate, pending
from streamproxy.stores.sql.sealing import Seal
from streamproxy.stores.sql.upstreams import SqlUpstreams
from streamproxy.upstream.client import AiohttpTransport

T = TypeVar("T")


@asynccontextmanager
async def open_keyring(settings: Settings) -> AsyncIterator[Keyring]:
    """Open the database, brought up to date, and the Redis of the running server if there is one to reach."""
    url = settings.database_url
    if await pending(url):
        await asyncio.to_thread(migrate, url)
    async with AsyncExitStack() as stack:
        database = await open_sql(url)
        stack.push_async_callback(database.close)
        keys = SqlKeys(database, Seal(encryption_secret(settings)))
        catalogue = Catalogue(
            configured_upstreams(settings),
            spare=spare_upstream(settings),
            keys=keys,
            upstreams=SqlUpstreams(database),
        )
        transport = await stack.enter_async_context(AiohttpTransport(connect_timeout=settings.upstream.connect_timeout))
        transport.meet((await catalogue.read()).upstreams)
        yield Keyring(
            catalogue,
            keys,
            states=await _states(settings, stack),
            transport=transport,
            clock=time.time,
            retry=settings.upstream.probe_seconds,
        )


async def _states(settings: Settings, stack: AsyncExitStack) -> RedisKeyStates | None:
    url = settings.redis_url or find(settings.server.data_dir)
    if url is None or url.startswith("memory:"):
        return None
    redis = await open_redis(url, timeout_seconds=5)
    stack.push_async_callback(redis.close)
    return RedisKeyStates(redis)


def with_keyring(settings: Settings, work: Callable[[Keyring], Awaitable[T]]) -> T:
    """Run *work* on a loop of its own with the keyring open, and return what it returns."""

    async def run() -> T:
        async with open_keyring(settings) as keyring:
            return await work(keyring)

    return asyncio.run(run())
