"""Bodies that never come whole: who leaves in the middle of one leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from tests.e2e.facts import until
from tests.handlers.worker import serving
from tests.support.http import Connection

CLIENTS = 20
HALF = b"POST %b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n{"


@pytest.fixture(params=[True, False], ids=["ours", "Tornado's"])
def port(io_loop: IOLoop, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """Of both servers."""
    context = serving(tmp_path, shortcuts=request.param)
    yield io_loop.run_sync(context.__aenter__)
    io_loop.run_sync(lambda: context.__aexit__(None, None, None))


@pytest.mark.parametrize("leave", [Connection.leave, Connection.reset], ids=["FIN", "RST"])
@pytest.mark.parametrize("path", [b"/healthz", b"/v1/chat/completions", b"/nowhere"])
async def test_who_leaves_in_the_middle_of_a_body_leaves_nothing_behind(
    port: int, path: bytes, leave: Callable[[Connection], None]
) -> None:
    """Ten kilobytes a request, kept for ever, would be anybody's way to fill the memory."""
    before = len(asyncio.all_tasks())
    connections = [await Connection.open(port) for _ in range(CLIENTS)]
    for connection in connections:
        await connection.send(HALF % path)
        # The worker asks for the body: it has the head, and waits.
        assert (await connection.head()).status == 100
    assert len(asyncio.all_tasks()) >= before + CLIENTS
    for connection in connections:
        leave(connection)
    await until(lambda: len(asyncio.all_tasks()) <= before, "nothing of them is left", 10)
