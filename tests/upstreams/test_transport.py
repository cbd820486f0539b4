"""The transport alone against real sockets: connect limits, encodings, heads, endings."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from streamproxy.errors import UpstreamError, UpstreamTimeoutError
from streamproxy.upstream import borrowed
from streamproxy.upstream.client import AiohttpTransport
from tests.support.steps import done, head, raw, say, wire
from tests.support.upstream import ScriptedUpstream, own_upstream_socket

upstream_socket = own_upstream_socket


@pytest.fixture(autouse=True, params=["borrowed connections", "sessions"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is what an aiohttp without the inner parts we use gets."""
    if request.param == "sessions":
        monkeypatch.setattr(borrowed, "available", lambda: False)


@pytest.fixture
def origin(upstream: ScriptedUpstream, upstream_socket: socket.socket) -> str:
    return f"http://127.0.0.1:{upstream_socket.getsockname()[1]}"


async def fetched(origin: str, **headers: str) -> bytes:
    """The whole body of a POST."""
    async with AiohttpTransport(connect_timeout=5, private_origins=[origin]) as transport:
        reply = await transport.open(f"{origin}/v1/chat/completions", headers=headers, body=(b"{}",))
        parts = []
        while batch := await reply.batch():
            parts.append(batch)
        await reply.finish()
    return b"".join(parts)


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A port whose queue of connections is full: the kernel answers no further one."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_black_hole_is_given_up_by_the_connect_limit(black_hole: str) -> None:
    """U2: named, and known to have sent nothing, so that another key may be tried."""
    async with AiohttpTransport(connect_timeout=0.2, private_origins=[black_hole]) as transport, asyncio.timeout(10):
        with pytest.raises(UpstreamTimeoutError) as given_up:
            await transport.open(f"{black_hole}/v1", headers={}, body=(b"{}",))
    assert given_up.value.code == "upstream_connect_timeout"
    assert "0.2 s" in given_up.value.message


async def test_a_port_that_nobody_listens_on_is_unreachable() -> None:
    """U1."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with AiohttpTransport(connect_timeout=5, private_origins=[origin]) as transport:
            with pytest.raises(UpstreamError) as refused:
                await transport.open(f"{origin}/v1", headers={}, body=(b"{}",))
    assert refused.value.code == "upstream_unreachable"


async def test_nothing_but_identity_is_asked_for(upstream: ScriptedUpstream, origin: str) -> None:
    """A truncated gzip reads as a clean end: what is not packed cannot be cut in silence."""
    upstream.script(say("x"), done())
    await fetched(origin)
    assert (await upstream.request()).header("Accept-Encoding") == "identity"


@pytest.mark.parametrize("encoding", ["br", "zstd", "x-unknown", "gzip, br"])
async def test_an_encoding_nobody_asked_for_is_refused(upstream: ScriptedUpstream, origin: str, encoding: str) -> None:
    upstream.script(head(content_encoding=encoding), raw(b"\x8b\x02\x80hello"))
    with pytest.raises(UpstreamError) as refused:
        await fetched(origin)
    assert refused.value.code in {"upstream_malformed", "upstream_disconnected"}


async def test_cookies_of_one_answer_are_in_no_other_request(upstream: ScriptedUpstream, origin: str) -> None:
    """One tenant's session with a gateway must not become another's."""
    upstream.script(head(set_cookie="session=of-somebody-else; Path=/"), say("x"), done())
    async with AiohttpTransport(connect_timeout=5, private_origins=[origin]) as transport:
        for _ in range(2):
            reply = await transport.open(f"{origin}/v1/chat/completions", headers={}, body=(b"{}",))
            while await reply.batch():
                pass
            await reply.finish()
    assert [request.header("Cookie") for request in upstream.requests] == [None, None]


async def test_a_head_of_many_large_fields_is_read(upstream: ScriptedUpstream, origin: str) -> None:
    """U19: 1,000 cookies and 30 kB in one field."""
    fields = b"Set-Cookie: a=b\r\n" * 1000 + b"Content-Security-Policy: " + b"x" * 30_000 + b"\r\n"
    upstream.script(wire(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n" + fields + b"\r\nok"))
    assert await fetched(origin) == b"ok"


async def test_a_head_without_end_is_refused(upstream: ScriptedUpstream, origin: str) -> None:
    upstream.script(wire(b"HTTP/1.1 200 OK\r\n" + b"X-Endless: y\r\n" * 100_000))
    with pytest.raises(UpstreamError) as refused:
        await fetched(origin)
    assert refused.value.code in {"upstream_malformed", "upstream_disconnected"}


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\0b"])
async def test_a_header_cannot_smuggle_another(upstream: ScriptedUpstream, origin: str, value: str) -> None:
    """Whatever a caller's trace field held, nothing is sent."""
    with pytest.raises(UpstreamError) as refused:
        await fetched(origin, traceparent=value)
    assert refused.value.code == "upstream_malformed"
    assert upstream.requests == []
