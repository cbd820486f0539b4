"""The inner parts of aiohttp that calls are built on: in the installed version they are what we take them for."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp.connector import BaseConnector
from yarl import URL

from streamproxy.upstream import borrowed
from streamproxy.upstream.borrowed import Lender, Loan
from streamproxy.upstream.client import AiohttpReply, AiohttpTransport
from streamproxy.upstream.direct import DirectReply
from tests.support.steps import done, raw, say
from tests.support.upstream import ScriptedUpstream, own_upstream_socket

upstream_socket = own_upstream_socket


@pytest.fixture
def origin(upstream: ScriptedUpstream, upstream_socket: socket.socket) -> str:
    return f"http://127.0.0.1:{upstream_socket.getsockname()[1]}"


def test_the_installed_aiohttp_has_the_parts() -> None:
    """Should this fail after an update: calls go through sessions meanwhile, at more than twice the price."""
    assert borrowed.available()


def test_an_aiohttp_without_the_parts_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(self: BaseConnector, request: object) -> None:
        """As another version may have it."""

    monkeypatch.setattr(BaseConnector, "connect", connect)
    assert not borrowed.available()


@pytest.mark.parametrize(("shortcut", "kind"), [(True, DirectReply), (False, AiohttpReply)])
async def test_the_shortcut_can_be_switched_off(
    upstream: ScriptedUpstream, origin: str, shortcut: bool, kind: type
) -> None:
    upstream.script(say("x"), done())
    async with AiohttpTransport(connect_timeout=5, private_origins=[origin], shortcut=shortcut) as transport:
        reply = await transport.open(f"{origin}/v1/chat/completions", headers={}, body=(b"{}",))
        assert type(reply) is kind
        reply.close()


async def test_a_connection_that_is_given_back_serves_the_next_call(upstream: ScriptedUpstream, origin: str) -> None:
    upstream.script(say("x"), done())
    async with aiohttp.ClientSession() as session:
        lender = Lender(session, URL(origin), aiohttp.ClientTimeout(total=None))
        first = await lender.borrow()
        handler = first._handler
        first.give_back()
        second = await lender.borrow()
        assert second._handler is handler
        second.drop()
        third = await lender.borrow()
        assert third._handler is not handler
        third.give_back()


@pytest.mark.parametrize("shortcut", [True, False])
async def test_a_body_is_poured_to_its_end_or_as_far_as_it_is_wanted(
    upstream: ScriptedUpstream, origin: str, shortcut: bool
) -> None:
    """Every byte in order; whoever wants no more is left alone."""
    upstream.script(*(raw(b"data: %d\n\n" % n) for n in range(50)), done())
    async with AiohttpTransport(connect_timeout=5, private_origins=[origin], shortcut=shortcut) as transport:
        for most in (10**6, 1):
            reply = await transport.open(f"{origin}/v1/chat/completions", headers={}, body=(b"{}",))
            poured = bytearray()

            def take(batch: bytes, most: int = most, poured: bytearray = poured) -> bool:
                poured.extend(batch)
                return len(poured) < most

            await reply.pour(take)
            whole = b"".join(b"data: %d\n\n" % n for n in range(50)) + b"data: [DONE]\n\n"
            assert poured == whole if most > len(whole) else whole.startswith(poured) and len(poured) >= most
            reply.close()


@asynccontextmanager
async def lasting_server(*pieces: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that keeps connections and writes *pieces* for each request, and how often it was connected to."""
    connected: list[int] = []
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(1)
        serving.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connected
    server.close()
    await asyncio.gather(*(task for task in serving if task is not None))


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "connections"),
    [
        ((HEAD + b"5\r\nhello\r\n0\r\n\r\n",), 1),
        # The end comes when nobody reads any more.
        ((HEAD, b"5\r\nhello\r\n", b"0\r\n\r\n"), 1),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",), 1),
        ((b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",), 1),
        ((b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",), 3),
        # What nobody asked for is not taken for the next answer.
        ((HEAD + b"5\r\nhello\r\n0\r\n\r\n" + HEAD + b"4\r\nevil\r\n0\r\n\r\n",), 3),
    ],
)
async def test_the_next_call_goes_over_the_same_connection_where_it_is_clean(
    pieces: Sequence[bytes], connections: int
) -> None:
    """Making a new one for each call costs more than the call."""
    async with lasting_server(*pieces) as (origin, connected):
        async with AiohttpTransport(connect_timeout=5, private_origins=[origin]) as transport:
            for _ in range(3):
                reply = await transport.open(f"{origin}/v1/chat/completions", headers={}, body=(b"{}",))
                assert isinstance(reply, DirectReply)
                said = bytearray()

                def take(batch: bytes, said: bytearray = said) -> bool:
                    said.extend(batch)
                    return b"hello" not in said

                await reply.pour(take)
                await reply.finish()
                async with asyncio.timeout(10):
                    while reply._loan is not None:  # noqa: ASYNC110 - the end of the body arrives by itself
                        await asyncio.sleep(0)
                assert said.startswith(b"hello")
        assert len(connected) == connections


@asynccontextmanager
async def lent_and_given_back() -> AsyncIterator[tuple[Lender, Loan, asyncio.StreamWriter]]:
    """A lender, a connection it keeps, and the server's end of it."""
    ends: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ends.put(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        lender = Lender(session, URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), aiohttp.ClientTimeout())
        loan = await lender.borrow()
        loan.give_back()
        yield lender, loan, await ends.get()
        lender.close()
    while not ends.empty():
        ends.get_nowait().close()
    server.close()


@pytest.mark.parametrize("word", [b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"x", b""])
async def test_a_kept_connection_on_which_something_comes_is_not_lent(word: bytes) -> None:
    """It would be taken for the answer to the next call. Nothing: the server has closed it."""
    async with lent_and_given_back() as (lender, loan, writer):
        if word:
            writer.write(word)
        else:
            writer.close()
        async with asyncio.timeout(10):
            while not loan.transport.is_closing():  # noqa: ASYNC110 - what the server does arrives by itself
                await asyncio.sleep(0.01)
        other = await lender.borrow()
        assert other is not loan
        other.drop()
        writer.close()


async def test_a_connection_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(borrowed, "KEPT_SECONDS", 0.05)
    async with lent_and_given_back() as (_, loan, writer):
        async with asyncio.timeout(10):
            while not loan.transport.is_closing():  # noqa: ASYNC110 - its time passes by itself
                await asyncio.sleep(0.01)
        writer.close()


async def test_a_connection_that_was_kept_too_long_is_not_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy loop may lend before the timer has looked."""
    async with lent_and_given_back() as (lender, loan, writer):
        monkeypatch.setattr(borrowed, "KEPT_SECONDS", -1.0)
        other = await lender.borrow()
        assert other is not loan
        assert loan.transport.is_closing()
        other.drop()
        writer.close()


async def test_a_session_that_closes_takes_the_kept_connections_with_it(
    upstream: ScriptedUpstream, origin: str
) -> None:
    """And is closed when they are: a loop that ends there leaves no socket behind."""
    upstream.script(say("x"), done())
    async with aiohttp.ClientSession() as session:
        lender = Lender(session, URL(origin), aiohttp.ClientTimeout(total=None))
        loan = await lender.borrow()
        loan.give_back()
        lender.close()
    assert loan.transport.get_extra_info("socket").fileno() == -1
    assert not lender._kept


async def test_the_urls_of_one_origin_share_their_connections() -> None:
    async with lasting_server(HEAD + b"5\r\nhello\r\n0\r\n\r\n") as (origin, connected):
        async with AiohttpTransport(connect_timeout=5, private_origins=[origin]) as transport:
            for path in ("/v1/chat/completions", "/v1/embeddings"):
                reply = await transport.open(f"{origin}{path}", headers={}, body=(b"{}",))
                assert await reply.batch() == b"hello"
                await reply.finish()
        assert len(connected) == 1


@pytest.mark.parametrize("whole", [True, False])
async def test_what_was_read_is_gone_without_the_garbage_collector(
    upstream: ScriptedUpstream, origin: str, whole: bool
) -> None:
    """The parser and the head it fills know each other: left so, every call would wait for the collector."""
    upstream.script(say("x"), done())
    async with AiohttpTransport(connect_timeout=5, private_origins=[origin]) as transport:
        reply = await transport.open(f"{origin}/v1/chat/completions", headers={}, body=(b"{}",))
        assert isinstance(reply, DirectReply)
        while await reply.batch() and whole:
            pass
        head = weakref.ref(reply._head)
        gc.disable()
        try:
            if whole:
                await reply.finish()
            else:
                reply.close()
            assert reply.status == 200
            del reply
            await asyncio.sleep(0)
            assert head() is None
        finally:
            gc.enable()
