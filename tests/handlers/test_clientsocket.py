"""Tornado's inner part that events are written past: in the installed version it is what we take it for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from streamproxy.handlers.clientsocket import ClientSocket, client_socket

PIECE = b"x" * 50_000


class Answering(RequestHandler):
    """Does with a connection whose head is out what the test wants."""

    def initialize(self, then: Callable[[Answering], asyncio.Future[None] | None]) -> None:
        self.then = then

    async def get(self) -> None:
        self.write(b"first")
        await self.flush()
        waiting = self.then(self)
        if waiting is not None:
            await waiting


@asynccontextmanager
async def served(then: Callable[[Answering], asyncio.Future[None] | None]) -> AsyncIterator[int]:
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


def direct(handler: Answering) -> ClientSocket:
    found = client_socket(handler.request.connection)
    assert found is not None
    return found


async def test_a_chunk_goes_out_as_a_chunk() -> None:
    """Sent at once, and the handler's own end follows it."""

    def then(handler: Answering) -> None:
        assert direct(handler).send(b"second") is None

    async with served(then) as port:
        answer = await fetched(port)
    assert answer.endswith(b"\r\n\r\n5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n")


async def test_what_the_socket_does_not_take_follows_in_order() -> None:
    """The future is done when it has been taken."""

    def then(handler: Answering) -> asyncio.Future[None] | None:
        # Nobody reads meanwhile: the reader runs in the same loop.
        sent = [direct(handler).send(PIECE) for _ in range(200)]
        assert sent[0] is None
        assert sent[-1] is not None
        return sent[-1]

    async with served(then) as port:
        answer = await fetched(port)
    assert answer.endswith(b"5\r\nfirst\r\n" + b"%x\r\n%b\r\n" % (len(PIECE), PIECE) * 200 + b"0\r\n\r\n")


async def test_a_client_of_http_1_0_is_written_to_by_the_handler() -> None:
    """It knows no chunks."""

    def then(handler: Answering) -> None:
        assert client_socket(handler.request.connection) is None

    async with served(then) as port:
        assert (await fetched(port, b"1.0")).endswith(b"\r\n\r\nfirst")


async def test_another_tornado_is_written_to_by_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the part is missing."""

    def then(handler: Answering) -> None:
        connection = handler.request.connection
        assert isinstance(connection, HTTP1Connection)
        monkeypatch.delattr(connection, "_chunking_output")
        assert client_socket(connection) is None
        monkeypatch.setattr(connection, "_chunking_output", True, raising=False)

    async with served(then) as port:
        assert (await fetched(port)).endswith(b"first\r\n0\r\n\r\n")


async def test_a_client_that_is_gone_is_no_error() -> None:
    """Its handler hears of it from Tornado: the connection is closed."""

    def then(handler: Answering) -> None:
        connection = handler.request.connection
        assert isinstance(connection, HTTP1Connection)
        stream, pipe = connection.stream, direct(handler)
        stream.socket.shutdown(socket.SHUT_WR)
        assert pipe.send(b"to nobody") is None
        assert stream.closed()
        assert pipe.send(b"to nobody") is None

    async with served(then) as port:
        await fetched(port)
