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

from streamproxy.connections.bounds import WRITE_SECONDS
from streamproxy.connections.letterhead import Letterhead
from streamproxy.handlers.base import BaseHandler
from streamproxy.services.delivery import Stamp
from streamproxy.wire.sse import HEARTBEAT

# How often it is looked whether a reader that is behind takes anything.
LOOK_SECONDS = 1.0

LETTERHEAD = Letterhead(
    {
        **BaseHandler.always,
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache, no-transform",
        # nginx buffers a proxied answer unless it is told otherwise, here or in its configuration.
        "X-Accel-Buffering": "no",
    }
)


class EventStream:
    """The body of one streaming answer. Use as ``with``: the timer lives inside.

    *open_after* seconds after it was made the answer is opened with 200 even if nothing came yet;
    *fields* gives the answer's own header fields at that moment. *render* makes of whole events what this client reads.
    """

    __slots__ = (
        *("_client", "_fields", "_handler", "_heartbeat", "_loop", "_opens", "_pending", "_render", "_taken", "_timer"),
        *("_took", "_wrote", "_written", "opened"),
    )

    def __init__(
        self,
        handler: BaseHandler,
        *,
        heartbeat: float,
        open_after: float,
        fields: Callable[[], Mapping[str, str]],
        render: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.opened = False
        self._render = render
        self._handler = handler
        self._client = handler.client
        self._heartbeat = heartbeat
        self._fields = fields
        self._loop = handler.client.loop
        self._wrote = self._loop.time()
        self._opens = self._wrote + open_after
        # What was written past this object, and when.
        self._written: Stamp | None = None
        self._pending: asyncio.Future[None] | None = None
        # Of what the client has taken: how much it was, and when that was seen.
        self._taken = 0
        self._took = self._wrote
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        silent = self._wrote + self._heartbeat
        self._timer = self._loop.call_at(self._opens if self._opens < silent else silent, self._tick)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def finish(self) -> None:
        """The answer is complete. Behind its end there must not be a heartbeat."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._handler.end()

    async def send(self, frames: bytes) -> None:
        """Write whole events; waits only while the client's socket takes no more."""
        # One flush at a time: of two that run at once, Tornado never completes the first.
        if self._pending is not None:
            await self._drained()
        if self.write(frames) is not None:
            await self._drained()

    def write(self, frames: bytes) -> asyncio.Future[None] | None:
        """Write whole events; a future while the socket takes no more: until it is done, write nothing else."""
        if self._render is not None:
            frames = self._render(frames)
        if not frames:
            return None
        if not self.opened:
            return self._open(frames)
        self._wrote = self._loop.time()
        self._pending = self._client.send(frames)
        return self._pending

    def writer(self, written: Stamp) -> Callable[[bytes], asyncio.Future[None] | None]:
        shortest = self._client.shortest() if self.opened and self._render is None else None
        if shortest is None:
            return self.write
        self._written = written
        return shortest

    def _open(self, data: bytes) -> asyncio.Future[None] | None:
        self._wrote = self._loop.time()
        self.opened = True
        self._pending = self._handler.stream(LETTERHEAD, self._fields(), data)
        return self._pending

    async def _drained(self) -> None:
        if self._pending is not None and self._client.writing():
            # Not awaited itself: who is cancelled here must not cancel it, for others wait for it, too. A client that
            # is gone is the handler's on_connection_close to tell, which cancels who waits here.
            await asyncio.wait({self._pending})
            self._pending.cancelled() or self._pending.exception()
        self._pending = None

    def _tick(self) -> None:
        """Fill silence, and give up on a client that takes nothing."""
        now = self._loop.time()
        if self._written is not None:
            self._wrote = max(self._wrote, self._written.last or 0.0)
        if not self._client.writing():
            self._took = now
            if not self.opened and now < self._opens:
                # An event may open it at once: from then on silence must not last longer than a heartbeat.
                self._timer = self._loop.call_at(min(self._opens, now + self._heartbeat), self._tick)
                return
            if not self.opened:
                self._open(HEARTBEAT)
            elif now - self._wrote >= self._heartbeat:
                self._wrote = now
                self._pending = self._client.send(HEARTBEAT)
            self._timer = self._loop.call_at(max(self._wrote + self._heartbeat, now + 0.01), self._tick)
            return
        if self._client.taken != self._taken:
            self._taken, self._took = self._client.taken, now
        elif now - self._took >= WRITE_SECONDS:
            # What waits in send() is cancelled by the handler's on_connection_close.
            self._client.abort()
            return
        self._timer = self._loop.call_later(LOOK_SECONDS, self._tick)
