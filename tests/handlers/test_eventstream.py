"""Writers who wait for a client that is behind, and silence, on a loop whose clock the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from streamproxy.handlers.eventstream import EventStream
from streamproxy.wire.sse import HEARTBEAT
from tests.support.steered import SteeredLoop

if TYPE_CHECKING:
    from streamproxy.handlers.base import BaseHandler


async def test_a_writer_that_is_cancelled_takes_nobody_elses_wait_with_it() -> None:
    """At a hand-over the reader's task is cancelled where it waits, and has one more line to write then."""
    loop = asyncio.get_running_loop()
    behind: asyncio.Future[None] = loop.create_future()
    sent: list[bytes] = []

    def send(data: bytes) -> asyncio.Future[None]:
        sent.append(data)
        return behind

    client = SimpleNamespace(loop=loop, send=send, writing=lambda: not behind.done())
    handler: Any = SimpleNamespace(client=client)
    events = EventStream(handler, heartbeat=60, open_after=60, fields=dict)
    events.opened = True
    first = asyncio.create_task(events.send(b"data: 1\n\n"))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not behind.done()
    second = asyncio.create_task(events.send(b"retry: 1\n\n"))
    await asyncio.sleep(0)
    behind.set_result(None)
    await second
    assert sent == [b"data: 1\n\n", b"retry: 1\n\n"]


@pytest.mark.parametrize("render", [None, bytes.upper], ids=["the shortest way", "rendered"])
def test_silence_begins_with_what_was_written_last_whichever_way_it_went(render: Callable[[bytes], bytes]) -> None:
    loop = SteeredLoop()
    sent: list[bytes] = []
    stamp = SimpleNamespace(last=None)

    def shortest(data: bytes) -> None:
        sent.append(data)

    client = SimpleNamespace(loop=loop, send=sent.append, shortest=lambda: shortest, writing=lambda: False)
    events = EventStream(
        cast("BaseHandler", SimpleNamespace(client=client)), heartbeat=10, open_after=60, fields=dict, render=render
    )
    events.opened = True
    with events:
        write = events.writer(stamp)
        assert (write is shortest) is (render is None)
        for _ in range(5):
            loop.move(7)
            write(b"data: 1\n\n")
            stamp.last = loop.time()
        assert HEARTBEAT not in sent
        loop.move(9)
        assert HEARTBEAT not in sent
        loop.move(1)
        assert sent.pop() == HEARTBEAT
        loop.move(10)
        assert sent.pop() == HEARTBEAT
        assert HEARTBEAT not in sent
    loop.close()
