"""The only writer of server-sent events.

It writes whole events and awaits the socket only when it is behind; silence is filled with heartbeats by its own
timer, which writes nothing while a write is under way. Why no ``id:``, ``event:`` or blank line of its own: see
``wire.sse``; openai-python fails on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream
from tornado.web import RequestHandler

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
    ) -> None:
        self.opened = False
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
        if self._timer is not None:
            self._timer.cancel()

    async def send(self, frames: bytes) -> None:
        """Write whole events; waits only while the client's socket takes no more."""
        if self._render is not None and not (frames := self._render(frames)):
            return
        # One flush at a time: of two that run at once, Tornado never completes the first.
        await self._drained()
        self._write(frames)
        await self._drained()

    def finish(self) -> None:
        """The end of the answer: no heartbeat comes behind it, however long what follows takes."""
        if self._timer is not None:
            self._timer.cancel()
        self._handler.finish()

    async def _drained(self) -> None:
        if self._pending is not None and self._socket.writing():
            await self._pending
        self._pending = None

    def _write(self, data: bytes) -> None:
        if not self.opened:
            self._open()
        self._wrote = self._loop.time()
        self._handler.write(data)
        self._pending = self._handler.flush()

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
