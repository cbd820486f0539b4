"""The instruments themselves: the upstream does what its script says, and the client shows what it did.

A rule that these could not see broken would be a rule without a test.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest
from tornado.ioloop import IOLoop

from tests.support.http import Client, Connection, split_frames
from tests.support.steps import Step, done, drip, drop, fin, finish, gate, raw, reply, say, stall
from tests.support.upstream import ScriptedUpstream, own_upstream_socket

upstream_socket = own_upstream_socket


@pytest.fixture
def direct(io_loop: IOLoop, upstream_socket: socket.socket) -> Iterator[Client]:
    """A client that calls the upstream itself, no proxy between."""
    client = Client(upstream_socket.getsockname()[1])
    yield client
    client.close()


async def test_an_echo_is_streamed_or_whole(direct: Client, upstream: ScriptedUpstream) -> None:
    assert (await direct.chat("a b")).text() == "ab"
    assert (await direct.chat("a b", stream=False)).json["choices"][0]["message"]["content"] == "a b"
    assert [r.json["stream"] for r in upstream.requests] == [True, False]


async def test_queued_scripts_come_before_the_standing_one(direct: Client, upstream: ScriptedUpstream) -> None:
    upstream.script(reply(500, {}))
    upstream.once(reply(418, {}, retry_after="7"))
    first, second = await direct.chat(), await direct.chat()
    assert (first.status, first.head.get("Retry-After"), second.status) == (418, "7", 500)


async def test_dripping_sends_single_bytes(direct: Client, upstream: ScriptedUpstream) -> None:
    upstream.script(drip(), say("你"), finish(), done())
    stream = await direct.open_chat()
    await stream.head()
    pieces = []
    while piece := await stream.piece():
        pieces.append(piece)
    assert {len(piece) for piece in pieces} == {1}
    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")


async def test_a_gate_holds_the_script_until_it_opens(direct: Client, upstream: ScriptedUpstream) -> None:
    opened = asyncio.Event()
    upstream.script(say("one"), gate(opened), say("two"), done())
    stream = await direct.open_chat()
    await stream.head()
    assert b"one" in await stream.frame()
    assert upstream.running == 1
    opened.set()
    assert b"two" in await stream.frame()


async def test_cuts_are_seen_as_what_they_are(direct: Client, upstream: ScriptedUpstream) -> None:
    """FIN leaves the body without its end, RST resets the connection."""
    cuts: list[tuple[Step, str]] = [(fin(), "closed"), (drop(), "reset")]
    for cut, word in cuts:
        upstream.once(say("one"), cut)
        with pytest.raises(ConnectionError, match=word):
            await direct.chat()


@pytest.mark.parametrize(("leave", "how"), [(Connection.leave, "fin"), (Connection.reset, "reset")])
async def test_leaving_is_noticed_and_told_apart(
    direct: Client, upstream: ScriptedUpstream, leave: Callable[[Connection], None], how: str
) -> None:
    upstream.script(say("one"), stall())
    stream = await direct.open_chat()
    request = await upstream.request()
    await stream.head()
    await stream.frame()
    leave(stream)
    assert await request.left == how
    assert upstream.most_running == 1


async def test_who_comes_between_two_tests_is_answered_for_good(
    direct: Client, upstream: ScriptedUpstream, upstream_socket: socket.socket
) -> None:
    """A reset would be tried again, and would take the next test's script."""
    upstream.script(stall())
    unfinished = await direct.connect()
    await unfinished.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
    unanswered = await direct.open_chat()
    await upstream.request()
    await upstream.stop()
    late = await direct.open_chat()
    following = ScriptedUpstream(upstream_socket)
    await following.start()
    assert [(await stream.head()).status for stream in (unfinished, unanswered, late)] == [400] * 3
    assert following.requests == []
    await following.stop()
    await upstream.start()  # which the fixture stops


@pytest.mark.parametrize(
    "wrong",
    [
        b": ping\n\n",
        b":\n\n",
        b": \n",
        b"data:x\n\n",
        b"data: x\n",
        b"id: 1\n",
        b"data: \n\n",
        b"\n",
        b"data: x\r\n\r\n",
    ],
)
def test_what_no_rule_allows_is_not_taken_for_a_frame(wrong: bytes) -> None:
    with pytest.raises(AssertionError):
        split_frames(b"data: {}\n\n" + wrong)


def test_frames_of_family_a_are_told_apart() -> None:
    body = b":\n" + b'data: {"a":1}\n\n' + b":\n:\n" + b"data: [DONE]\n\n"
    assert split_frames(body) == [b":\n", b'data: {"a":1}\n\n', b":\n", b":\n", b"data: [DONE]\n\n"]


@pytest.mark.parametrize(
    "body", [b"data: {}\n\n", b"data: [DONE]\n\ndata: {}\n\n", b"data: [DONE]\n\ndata: [DONE]\n\n"]
)
async def test_an_end_mark_that_is_missing_early_or_doubled_is_seen(
    direct: Client, upstream: ScriptedUpstream, body: bytes
) -> None:
    upstream.script(raw(body))
    answer = await direct.chat()
    with pytest.raises(AssertionError):
        answer.chunks()
