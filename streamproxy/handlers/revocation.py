"""Whoever loses the right to read a stream loses the stream: looked at again and again while it is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from streamproxy.connections.client import Client
from streamproxy.errors import AuthenticationError, NotFoundError, StoreUnavailableError


@asynccontextmanager
async def while_allowed(check: Callable[[], Awaitable[None]], client: Client, *, every: float) -> AsyncIterator[None]:
    """Close the connection of *client* soon after *check* refuses, which is asked *every* so many seconds.

    A check that cannot be made, because a store is away, refuses nobody.
    """
    watch = asyncio.create_task(_watch(check, client, every))
    try:
        yield
    finally:
        watch.cancel()


async def _watch(check: Callable[[], Awaitable[None]], client: Client, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        try:
            await check()
        except StoreUnavailableError:
            continue
        except (AuthenticationError, NotFoundError):
            client.close()
            return
