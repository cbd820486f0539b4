"""Writers who wait for a client that is behind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streamproxy.handlers.eventstream import EventStream


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
