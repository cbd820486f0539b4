"""A whole answer may be large, and its reader slow: who takes some of it now and then gets all of it, who takes nothing
is closed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil  # type: ignore[import-untyped]
import pytest
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from streamproxy.connections import bounds
from streamproxy.serving import make_server
from tests.e2e.facts import until

SIZE = 8 << 20
PATIENCE = 0.3


class Large(RequestHandler):
    async def get(self) -> None:
        await self.finish(b"x" * SIZE)


@asynccontextmanager
async def serving(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(bounds, "WRITE_SECONDS", PATIENCE)
    server = make_server(Application([("/", Large)]), trusted_proxies=(), shortcuts=True)
    listening, port = bind_unused_port()
    server.add_sockets([listening])
    try:
        yield port
    finally:
        server.stop()
        await server.close_all_connections()


async def asked(port: int, connection: str) -> socket.socket:
    """A client with a small window that has asked and read nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, f"GET / HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n".encode())
    return client


async def read(client: socket.socket, pause: float, until_bytes: int) -> int:
    """Read to the end or until there are so many bytes; how many came."""
    loop, size = asyncio.get_running_loop(), 0
    while size < until_bytes and (data := await loop.sock_recv(client, 1 << 19)):
        size += len(data)
        await asyncio.sleep(pause)  # a slow line
    return size


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_who_reads_slowly_gets_all(monkeypatch: pytest.MonkeyPatch, connection: str) -> None:
    async with serving(monkeypatch) as port:
        began = asyncio.get_running_loop().time()
        with await asked(port, connection) as client:
            assert await read(client, PATIENCE / 10, SIZE) >= SIZE
        assert asyncio.get_running_loop().time() - began > 2 * PATIENCE, "too quick to show anything"


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_who_takes_nothing_is_closed(monkeypatch: pytest.MonkeyPatch, connection: str) -> None:
    async with serving(monkeypatch) as port:
        with await asked(port, connection) as client:

            def cut() -> bool:
                # What the kernel holds of it is still delivered to who reads after all.
                open_now = psutil.Process().net_connections("tcp")
                return all(not other.raddr or other.raddr != client.getsockname() for other in open_now)

            await until(cut, "it is closed")
            try:
                size = await read(client, 0, SIZE)
            except ConnectionResetError:
                return
            assert size < SIZE
