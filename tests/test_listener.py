"""The tests' own listening socket: nobody whom it let in is forgotten when it stops."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.support.listener import Listener, listen

OVER = b"it is over"


async def wait_for_more(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize("turns", range(8))
async def test_who_comes_while_it_stops_is_told_so_or_still_waits_to_be_let_in(turns: int) -> None:
    """*turns* of the loop after it has come."""
    with listen() as sock, socket.socket() as guest:
        listener = Listener(sock, wait_for_more, parting=OVER)
        listener.start()
        guest.connect(sock.getsockname())
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.stop()
        guest.settimeout(10)
        try:
            waiting, _ = sock.accept()
        except BlockingIOError:
            assert guest.makefile("rb").read() == OVER
        else:
            waiting.close()


async def test_who_reads_nothing_is_not_waited_for() -> None:
    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(1 << 24))
        poured.set()
        await writer.drain()

    poured = asyncio.Event()
    with listen() as sock, socket.create_connection(sock.getsockname()):
        listener = Listener(sock, pour)
        listener.start()
        await poured.wait()
        await listener.stop()
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_it_serves_again_after_a_stop() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")

    with listen() as sock:
        for _ in range(2):
            listener = Listener(sock, greet)
            for _ in range(2):
                listener.start()
                reader, writer = await asyncio.open_connection(*sock.getsockname())
                assert await reader.read() == b"hello"
                writer.close()
                await listener.stop()
