"""Tornado's inner part that events are written past: in the installed version it is what we take it for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from streamproxy.connections.iostreams import IOStreamClient

PIECE = b"x" * 50_000


class Answering(RequestHandler):
    """Does with a connection whose head is out what the test wants."""

    def initialize(self, then: Callable[[Answering], Awaitable[None]]) -> None:
        self.then = then

    async def get(self) -> None:
        self.write(b"first")
        await self.flush()
        await self.then(self)


@asynccontextmanager
async def served(then: Callable[[Answering], Awaitable[None]]) -> AsyncIterator[int]:
    listener, port = bind_unused_port()
    server = HTTPServer(Application([("/", Answering, {"then": then})]))
    server.add_sockets([listener])
    yield port
    server.stop()
    await server.close_all_connections()


async def fetched(port: int, version: bytes = b"1.1") -> bytes:
    """All bytes of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/%b\r\nHost: x\r\nConnection: close\r\n\r\n" % version)
    data = await reader.read()
    writer.close()
    return data


def direct(handler: Answering, *, shortcut: bool = True) -> IOStreamClient:
    connection = handler.request.connection
    assert isinstance(connection, HTTP1Connection)
    return IOStreamClient(handler, connection, shortcut=shortcut)


async def test_a_chunk_goes_out_as_a_chunk() -> None:
    """Sent at once, and the handler's own end follows it."""

    async def then(handler: Answering) -> None:
        assert direct(handler).send(b"second") is None

    async with served(then) as port:
        answer = await fetched(port)
    assert answer.endswith(b"\r\n\r\n5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n")


@pytest.mark.parametrize("shortcut", [True, False])
async def test_what_the_socket_does_not_take_follows_in_order(shortcut: bool) -> None:
    """The future is done when it has been taken."""

    async def then(handler: Answering) -> None:
        # Nobody reads meanwhile: the reader runs in the same loop.
        client = direct(handler, shortcut=shortcut)
        assert client.send(PIECE) is None
        for _ in range(199):
            if behind := client.send(PIECE):
                assert client.writing()
                await behind
        assert not client.writing()
        assert client.taken == 200

    async with served(then) as port:
        answer = await fetched(port)
    assert answer.endswith(b"5\r\nfirst\r\n" + b"%x\r\n%b\r\n" % (len(PIECE), PIECE) * 200 + b"0\r\n\r\n")


async def test_a_client_of_http_1_0_is_written_to_by_the_handler() -> None:
    """It knows no chunks."""

    async def then(handler: Answering) -> None:
        assert direct(handler).send(b"second") is None

    async with served(then) as port:
        assert (await fetched(port, b"1.0")).endswith(b"\r\n\r\nfirstsecond")


async def test_another_tornado_is_written_to_by_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the part is missing."""
    flushed: list[bytes] = []

    async def then(handler: Answering) -> None:
        connection = handler.request.connection
        assert isinstance(connection, HTTP1Connection)
        client = direct(handler)
        monkeypatch.setattr(handler, "write", flushed.append)
        monkeypatch.delattr(connection, "_chunking_output")
        monkeypatch.setattr(handler, "flush", lambda: None)
        client.send(b"second")
        monkeypatch.undo()
        connection._chunking_output = True

    async with served(then) as port:
        assert (await fetched(port)).endswith(b"first\r\n0\r\n\r\n")
    assert flushed == [b"second"]


async def test_a_client_that_is_gone_is_no_error() -> None:
    """Its handler hears of it from Tornado: the connection is closed."""

    async def then(handler: Answering) -> None:
        connection = handler.request.connection
        assert isinstance(connection, HTTP1Connection)
        stream, pipe = connection.stream, direct(handler)
        stream.socket.shutdown(socket.SHUT_WR)
        assert pipe.send(b"to nobody") is None
        assert stream.closed()
        assert pipe.send(b"to nobody") is None

    async with served(then) as port:
        await fetched(port)
