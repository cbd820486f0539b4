"""A listening socket in the test's own loop: whoever it lets in is seen out before the loop closes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeAlias

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
# A connection that is held for ever must fail the test, not hang the run.
STOP_SECONDS = 5


def listen() -> socket.socket:
    """A listening loopback socket: its port outlives the loops that serve it one after another."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sock.setblocking(False)
    return sock


class Listener:
    """Serves each connection by a task of its own, and closes it when the task ends.

    *parting* is what a connection is told whose task was cancelled. Why not asyncio's server: it says that it has taken
    a connection three turns of the loop later. One that comes just before ``Server.close()`` is known to nobody, stays
    open behind its loop, and fails whatever test runs when the garbage collector finds it.
    """

    def __init__(self, sock: socket.socket, serve: Serve, parting: bytes = b"") -> None:
        self._sock = sock
        self._serve = serve
        self._parting = parting
        self._connections: set[asyncio.Task[None]] = set()
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._over = False

    def start(self) -> None:
        self._over = False
        asyncio.get_running_loop().add_reader(self._sock, self._take)

    async def stop(self) -> None:
        """Take nobody any more, end the tasks, and wait until every connection is closed. The socket stays open."""
        asyncio.get_running_loop().remove_reader(self._sock)
        self._over = True
        for serving in self._serving:
            serving.cancel()
        await _all(self._serving)
        for writer in self._serving.values():
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()  # who does not read would keep it open
        await _all(self._connections)

    def _take(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it has left before it was taken
        sock.setblocking(False)
        connection = asyncio.create_task(self._attend(sock))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _attend(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=sock)
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving[serving] = writer
        if self._over:
            serving.cancel()
        await asyncio.wait([serving])
        if serving.cancelled() and self._parting:
            writer.write(self._parting)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        del self._serving[serving]


async def _all(tasks: Iterable[asyncio.Task[None]]) -> None:
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), STOP_SECONDS)
