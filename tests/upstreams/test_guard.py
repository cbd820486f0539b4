"""SSRF (RELIABILITY 1.9): no spelling of a private place gets a connection that its upstream may not have."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from tornado.ioloop import IOLoop

from streamproxy.errors import UpstreamError
from streamproxy.upstream.client import AiohttpTransport
from streamproxy.upstream.guard import guarded_sockets

# Each leads to this machine where nothing guards, or is refused before it could.
SPELLINGS = (
    "https://127.0.0.1:{port}/",
    "https://localhost:{port}/",
    "https://127.1:{port}/",
    "https://127.0.1:{port}/",
    "https://0x7f000001:{port}/",
    "https://0x7f.0.0.1:{port}/",
    "https://2130706433:{port}/",
    "https://017700000001:{port}/",
    "https://0177.0.0.1:{port}/",
    "https://0.0.0.0:{port}/",
    "https://0:{port}/",
    "https://[::]:{port}/",
    "https://[::1]:{port}/",
    "https://[::ffff:127.0.0.1]:{port}/",
    "https://[::ffff:7f00:1]:{port}/",
    "https://api.openai.com@127.0.0.1:{port}/",
    "https://rebound.example.com:{port}/",
)


class Knocks:
    """A listener that counts who connects to it."""

    def __init__(self) -> None:
        self.count = 0
        self._servers: list[asyncio.Server] = []
        self.port = 0

    async def open(self) -> None:
        sock = socket.socket(socket.AF_INET6)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        self._servers.append(await asyncio.start_server(self._knock, sock=sock))
        self.port = sock.getsockname()[1]

    async def _knock(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        writer.close()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()


class Rebound(AbstractResolver):
    """A resolver under somebody else's control: every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        place = ResolveResult(
            hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
        )
        return [place]

    async def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def knocks(io_loop: IOLoop) -> Iterator[Knocks]:
    listener = Knocks()
    io_loop.run_sync(listener.open)
    yield listener
    io_loop.run_sync(listener.close)


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_public_upstream_never_leads_to_this_machine(knocks: Knocks, spelling: str) -> None:
    async with AiohttpTransport(connect_timeout=5) as transport:
        with pytest.raises(UpstreamError) as refused:
            await transport.open(spelling.format(port=knocks.port), headers={}, body=(b"{}",))
    assert refused.value.code in {"upstream_address_refused", "upstream_unreachable", "upstream_malformed"}
    assert knocks.count == 0


@pytest.mark.parametrize("host", ["rebound.example.com", "api.openai.com"])
async def test_a_name_is_judged_by_the_address_it_leads_to_at_that_moment(knocks: Knocks, host: str) -> None:
    """Even where the resolver itself is in on it."""
    connector = aiohttp.TCPConnector(resolver=Rebound(), socket_factory=guarded_sockets(private=False))
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://{host}:{knocks.port}/")
    assert knocks.count == 0


async def test_without_the_guard_most_spellings_do_connect(knocks: Knocks) -> None:
    """The list above is able to fail."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Rebound())) as session:
        for spelling in SPELLINGS:
            try:
                await session.get(spelling.format(port=knocks.port), ssl=False)
            except (aiohttp.ClientError, OSError, ValueError):
                continue
    assert knocks.count >= 10


async def test_an_upstream_that_is_meant_to_be_private_is_reached(knocks: Knocks) -> None:
    origin = f"http://127.0.0.1:{knocks.port}"
    async with AiohttpTransport(connect_timeout=5, private_origins=[f"{origin}/v1"]) as transport:
        with pytest.raises(UpstreamError) as closed:
            await transport.open(f"{origin}/v1/models", headers={}, body=(b"{}",))
    assert closed.value.code == "upstream_disconnected"
    assert knocks.count == 1


@pytest.mark.parametrize("url", ["http://169.254.169.254/v1", "http://[fe80::1]/v1", "http://[fd00:ec2::254]/v1"])
async def test_what_a_cloud_tells_its_machines_is_never_reached(url: str) -> None:
    """Not even by an upstream that may be private: no model lives there."""
    async with AiohttpTransport(connect_timeout=5, private_origins=[url]) as transport:
        with pytest.raises(UpstreamError) as refused:
            await transport.open(f"{url}/models", headers={}, body=None)
    assert refused.value.code == "upstream_address_refused"


async def test_plain_http_is_for_private_upstreams_only() -> None:
    """Keys and conversations do not cross the internet in the clear; nothing is even resolved."""
    async with AiohttpTransport(connect_timeout=5) as transport:
        with pytest.raises(UpstreamError) as refused:
            await transport.open("http://api.openai.com/v1/models", headers={}, body=None)
    assert refused.value.code == "upstream_address_refused"


async def test_a_private_upstream_lends_its_permission_to_no_other_port(knocks: Knocks) -> None:
    async with AiohttpTransport(connect_timeout=5, private_origins=["http://127.0.0.1:1"]) as transport:
        with pytest.raises(UpstreamError):
            await transport.open(f"https://127.0.0.1:{knocks.port}/v1", headers={}, body=None)
    assert knocks.count == 0
