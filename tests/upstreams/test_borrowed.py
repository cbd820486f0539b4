"""The inner parts of aiohttp that calls are built on: in the installed version they are what we take them for."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from aiohttp.connector import BaseConnector
from yarl import URL

from streamproxy.upstream import borrowed
from streamproxy.upstream.borrowed import Lender
from streamproxy.upstream.client import AiohttpReply, AiohttpTransport
from streamproxy.upstream.direct import DirectReply
from tests.support.steps import done, raw, say
from tests.support.upstream import ScriptedUpstream


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
        reply = await transport.open(f"{origin}/v1/chat/completions", headers={}, body=b"{}")
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
            reply = await transport.open(f"{origin}/v1/chat/completions", headers={}, body=b"{}")
            poured = bytearray()

            def take(batch: bytes, most: int = most, poured: bytearray = poured) -> bool:
                poured.extend(batch)
                return len(poured) < most

            await reply.pour(take)
            whole = b"".join(b"data: %d\n\n" % n for n in range(50)) + b"data: [DONE]\n\n"
            assert poured == whole if most > len(whole) else whole.startswith(poured) and len(poured) >= most
            reply.close()
