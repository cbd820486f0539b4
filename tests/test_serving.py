"""What the server holds against clients that are slow, large or gone: facts of its connections, and its refusals."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from streamproxy import serving
from streamproxy.serving import ProxyServer

PATIENCE = 20


@dataclass(frozen=True, slots=True)
class Options:
    """What the socket of a request has: milliseconds, bytes."""

    user_timeout: int
    keep_alive: bool
    no_delay: bool
    buffer: int


class Hello(RequestHandler):
    def initialize(self, seen: list[Options]) -> None:
        self.seen = seen

    def get(self) -> None:
        sock = self.request.connection.stream.socket  # type: ignore[union-attr]
        self.seen.append(
            Options(
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                keep_alive=bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
                no_delay=bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
                buffer=sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
            )
        )
        self.write("hello")

    post = get


class Site:
    """A server of ours with a page, and the port it is at."""

    def __init__(self) -> None:
        sock, self.port = bind_unused_port()
        self.seen: list[Options] = []
        self.server = ProxyServer(
            Application([("/", Hello, {"seen": self.seen})], log_function=lambda _: None), trusted_proxies=()
        )
        self.server.add_sockets([sock])

    async def tell(self, *parts: bytes, pause: float = 0.0) -> bytes:
        """What it answers to *parts* until it closes; AssertionError when it never does."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await asyncio.sleep(pause)
            async with asyncio.timeout(PATIENCE):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()

    async def close(self) -> None:
        self.server.stop()
        await self.server.close_all_connections()


@pytest.fixture
def site(io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Its limits of time are tenths of seconds here; which they are in earnest is asserted below."""
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(serving, "BODY_SECONDS", 0.3)
    made: list[Site] = []
    io_loop.run_sync(lambda: _made(made))
    yield made[0]
    io_loop.run_sync(made[0].close)


async def _made(made: list[Site]) -> None:
    made.append(Site())


def test_the_limits_are_those_of_the_documents() -> None:
    """Idle longer than nginx keeps a connection (30 s), a body within half a minute, 16 KiB of header."""
    assert (serving.IDLE_SECONDS, serving.BODY_SECONDS, serving.MAX_HEADER_SIZE) == (75, 30, 16384)
    assert (serving.USER_TIMEOUT_MS, serving.SEND_BUFFER) == (20_000, 131_072)


async def test_every_request_of_a_connection_has_the_sockets_options(site: Site) -> None:
    """A time limit for unacknowledged data, keep-alive, a bounded buffer, and no Nagle: neither first nor later.

    Tornado itself switches Nagle's algorithm on again when a request ends.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    for _ in range(3):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"hello")
    writer.close()
    await writer.wait_closed()
    # Linux reports twice the buffer that was asked for.
    wanted = Options(serving.USER_TIMEOUT_MS, keep_alive=True, no_delay=True, buffer=2 * serving.SEND_BUFFER)
    assert site.seen == [wanted] * 3


async def test_a_header_over_the_bound_is_refused(site: Site) -> None:
    """Without an answer: who sends 16 KiB of header is no client of ours."""
    assert await site.tell(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * serving.MAX_HEADER_SIZE + b"\r\n\r\n") == b""


async def test_a_header_below_the_bound_is_read(site: Site) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: "
    assert b"hello" in await site.tell(head + b"y" * (serving.MAX_HEADER_SIZE - 200) + b"\r\n\r\n")


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET / HTTP/1.1\r\nHo", b"s", b"t", b":", b" ", b"x"],
        [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", b"1", b"2", b"3"],
        [b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n", b"a", b"\r", b"\n"],
        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    ],
    ids=["a head that drips", "a body that drips", "chunks that drip", "nothing more"],
)
async def test_who_takes_too_long_is_closed(site: Site, parts: list[bytes]) -> None:
    """A drip prolongs nothing: the limits are for the whole head, the whole body, the whole pause."""
    answer = await site.tell(*parts, pause=0.1)
    assert b"500" not in answer
