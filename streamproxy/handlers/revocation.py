"""Whoever loses the right to read a stream loses the stream: looked at again and again while it is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPConnection

from streamproxy.errors import AuthenticationError, NotFoundError, StoreUnavailableError


@asynccontextmanager
async def while_allowed(
    check: Callable[[], Awaitable[None]], connection: HTTPConnection | None, *, every: float
) -> AsyncIterator[None]:
    """Close *connection* soon after *check* refuses, which is asked *every* so many seconds.

    A check that cannot be made, because a store is away, refuses nobody.
    """
    watch = asyncio.create_task(_watch(check, connection, every))
    try:
        yield
    finally:
        watch.cancel()


async def _watch(check: Callable[[], Awaitable[None]], connection: HTTPConnection | None, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        try:
            await check()
        except StoreUnavailableError:
            continue
        except (AuthenticationError, NotFoundError):
            lose_connection(connection)
            return


def lose_connection(connection: HTTPConnection | None) -> None:
    """Close it without an end of the answer; runs the handler's ``on_connection_close``."""
    if isinstance(connection, HTTP1Connection):
        connection.stream.close()
