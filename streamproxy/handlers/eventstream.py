"""The only writer of server-sent events.

It writes whole events and awaits the socket only when it is behind; silence is filled with heartbeats by its own
timer, which writes nothing while a write is under way. Why no ``id:``, ``event:`` or blank line of its own: see
``wire.sse``; openai-python fails on them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler

from streamproxy.handlers.clientsocket import ClientSocket, client_socket
from streamproxy.wire.sse import HEARTBEAT

# A reader that takes nothing for so long is closed; it may come back.
WRITE_SECONDS = 30.0

FIELDS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    # nginx buffers a proxied answer unless it is told otherwise, here or in its configuration.
    "X-Accel-Buffering": "no",
}


class EventStream:
    """The body of one streaming answer. Use as ``with``: the timer lives inside.

    *open_after* seconds after it was entered the answer is opened with 200 even if nothing came yet;
    *fields* gives the answer's own header fields at that moment. *render* makes of whole events what this client reads.
    """

    def __init__(
        self,
        handler: RequestHandler,
        *,
        heartbeat: float,
        open_after: float,
        fields: Callable[[], Mapping[str, str]],
        render: Callable[[bytes], bytes] | None = None,
        shortcut: bool = True,
    ) -> None:
        self.opened = False
        self._shortcut = shortcut
        self._direct: ClientSocket | None = None
        self._render = render
        self._handler = handler
        self._heartbeat = heartbeat
        self._open_after = open_after
        self._fields = fields
        self._loop = asyncio.get_running_loop()
        self._wrote = self._loop.time()
        self._pending: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._timer = self._loop.call_later(self._open_after, self._tick)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def finish(self) -> None:
        """The answer is complete. Behind its end there must not be a heartbeat."""
        self._stop()
        self._handler.finish()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def send(self, frames: bytes) -> None:
        """Write whole events; waits only while the client's socket takes no more."""
        # One flush at a time: of two that run at once, Tornado never completes the first.
        await self._drained()
        self.write(frames)
        await self._drained()

    def write(self, frames: bytes) -> asyncio.Future[None] | None:
        """Write whole events; a future while the socket takes no more: until it is done, write nothing else."""
        if self._render is not None:
            frames = self._render(frames)
        return self._write(frames) if frames else None

    def _write(self, data: bytes) -> asyncio.Future[None] | None:
        self._wrote = self._loop.time()
        if self._direct is not None:
            self._pending = self._direct.send(data)
            return self._pending
        if not self.opened:
            self._open()
        self._handler.write(data)
        self._pending = self._handler.flush()
        if self._shortcut:
            self._direct = client_socket(self._handler.request.connection)
        return self._pending if self._socket.writing() else None

    async def _drained(self) -> None:
        if self._pending is not None and self._socket.writing():
            # A client that is gone is the handler's on_connection_close to tell, which cancels who waits here.
            with contextlib.suppress(StreamClosedError):
                await self._pending
        self._pending = None

    def _open(self) -> None:
        self.opened = True
        for name, value in {**FIELDS, **self._fields()}.items():
            self._handler.set_header(name, value)
        self._socket.set_nodelay(True)

    def _tick(self) -> None:
        """Fill silence, and give up on a client that takes nothing."""
        now = self._loop.time()
        silence = now - self._wrote
        if self._pending is not None and self._socket.writing():
            if silence >= WRITE_SECONDS:
                # What waits in send() is cancelled by the handler's on_connection_close.
                self._socket.close()
                return
        elif not self.opened or silence >= self._heartbeat:
            self._write(HEARTBEAT)
        self._timer = self._loop.call_at(max(self._wrote + self._heartbeat, now + 0.01), self._tick)

    @property
    def _socket(self) -> IOStream:
        connection = self._handler.request.connection
        if not isinstance(connection, HTTP1Connection):
            raise TypeError("an event stream needs Tornado's HTTP/1 connection")
        return connection.stream
