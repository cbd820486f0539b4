"""What happens to a Redis: each fault lasts as long as its ``with``, and everything is well again behind it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import redis.asyncio

from tests.support.redis_server import RedisServer

Fault: TypeAlias = Callable[[RedisServer], AbstractAsyncContextManager[None]]
# A storm strikes this often.
STORM_SECONDS = 0.01


@asynccontextmanager
async def restarted_empty(server: RedisServer) -> AsyncIterator[None]:
    """Killed, and back at once without its data."""
    server.kill()
    await asyncio.to_thread(server.start)
    yield


@asynccontextmanager
async def paused(server: RedisServer) -> AsyncIterator[None]:
    """Stopped by a signal: it accepts connections and says nothing."""
    server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send_signal(signal.SIGCONT)


@asynccontextmanager
async def out_of_memory(server: RedisServer) -> AsyncIterator[None]:
    """It answers reads and refuses writes."""
    async with _told(server, ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")):
        yield


@asynccontextmanager
async def read_only(server: RedisServer) -> AsyncIterator[None]:
    """Somebody made it the replica of a master that is not there."""
    async with _told(server, ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")):
        yield


@asynccontextmanager
async def scripts_forgotten(server: RedisServer) -> AsyncIterator[None]:
    """SCRIPT FLUSH, between any two commands."""
    async with _storm(server, "SCRIPT", "FLUSH"):
        yield


@asynccontextmanager
async def connections_killed(server: RedisServer) -> AsyncIterator[None]:
    """Every connection is cut, again and again."""
    async with _storm(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"):
        yield


@asynccontextmanager
async def _told(server: RedisServer, begin: tuple[str, ...], end: tuple[str, ...]) -> AsyncIterator[None]:
    async with redis.asyncio.Redis(unix_socket_path=str(server.socket_path)) as client:
        await client.execute_command(*begin)  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            await client.execute_command(*end)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def _storm(server: RedisServer, *command: str) -> AsyncIterator[None]:
    """*command* again and again until the block is left.

    It is told to end, not cancelled: redis-py sends through asyncio.wait_for, which on Python 3.11 loses a cancellation
    that comes just when what it waits for is done (gh-86296), and the storm would never end.
    """
    calm = False

    async def blow() -> None:
        async with redis.asyncio.Redis(unix_socket_path=str(server.socket_path)) as client:
            while not calm:
                await client.execute_command(*command)  # type: ignore[no-untyped-call]
                await asyncio.sleep(STORM_SECONDS)

    storm = asyncio.create_task(blow())
    try:
        yield
        assert not storm.done(), storm.exception()
    finally:
        calm = True
        await storm


FAULTS: dict[str, Fault] = {
    "restarted empty": restarted_empty,
    "paused": paused,
    "out of memory": out_of_memory,
    "read only": read_only,
    "scripts forgotten": scripts_forgotten,
    "connections killed": connections_killed,
}
REFUSES_WRITES = ("out of memory", "read only")
