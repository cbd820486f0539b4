"""An answer on its way to one client, without a task between a read from the upstream and a write to the client.

Each batch is looked at by the relay and written within the callback that brought it. A client that takes no more
stops the reading of its own upstream and of no other. Where events must be looked at one by one (``guards``), or
several read one stream, the exchange's ``frames`` are the way.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from streamproxy.errors import UpstreamError
from streamproxy.services.calls import Answer
from streamproxy.services.deadlines import Deadlines


class FrameWriter(Protocol):
    """Who takes the frames: ``handlers.eventstream``."""

    def write(self, frames: bytes) -> asyncio.Future[None] | None:
        """Write whole events. A future where the client is behind, done when it has taken them."""

    async def send(self, frames: bytes) -> None:
        """Write whole events, and wait while the client takes no more."""


class Delivery:
    """One answer, one client."""

    def __init__(self, answer: Answer, client: FrameWriter, deadlines: Deadlines) -> None:
        self._reply = answer.reply
        self._relay = answer.relay
        self._first = answer.frames
        self._client = client
        self._deadlines = deadlines

    async def run(self) -> None:
        """All but the ending. What the upstream does wrong is in the relay afterwards."""
        try:
            self._write(self._first)
            if not (self._relay.ended or self._relay.failure):
                await self._reply.pour(self._take)
            self._relay.finish_input()
        except UpstreamError as error:
            self._relay.break_off(error)

    def _take(self, batch: bytes) -> bool:
        relay = self._relay
        frames = relay.feed(batch)
        if frames:
            self._write(frames)
        return not (relay.ended or relay.failure)

    def _write(self, frames: bytes) -> None:
        behind = self._client.write(frames)
        if behind is None:
            self._deadlines.touch()
        else:
            # While the client takes them, nobody waits for the upstream.
            self._deadlines.pause()
            self._reply.pause()
            behind.add_done_callback(self._go_on)

    def _go_on(self, taken: asyncio.Future[None]) -> None:
        if not taken.cancelled():
            # The client may be gone: then this exchange is being cancelled, and nothing else is to be said.
            taken.exception()
        self._deadlines.touch()
        self._reply.resume()
