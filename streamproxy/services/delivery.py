"""An answer on its way to one client, without a task between a read from the upstream and a write to the client.

Each batch is looked at by the relay and written within the callback that brought it. A client that takes no more
stops the reading of its own upstream and of no other. Where a guard has to ask somebody before events may pass, they
are held until it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from streamproxy.errors import UpstreamError
from streamproxy.services.calls import Answer
from streamproxy.services.deadlines import Deadlines
from streamproxy.services.guards import Guards


class FrameWriter(Protocol):
    """Who takes the frames: ``handlers.eventstream``, or ``services.driver`` for a stream that several may read."""

    def write(self, frames: bytes) -> asyncio.Future[None] | None:
        """Write whole events. A future where the client is behind, done when it has taken them."""

    async def send(self, frames: bytes) -> None:
        """Write whole events, and wait while the client takes no more."""


class Delivery:
    """One answer, one client. *passed* gives what the guards let pass, where there are *guards*."""

    def __init__(
        self,
        answer: Answer,
        client: FrameWriter,
        deadlines: Deadlines,
        *,
        guards: Guards | None,
        passed: Callable[[bytes], Awaitable[bytes]],
    ) -> None:
        self._reply = answer.reply
        self._relay = answer.relay
        self._held = answer.frames
        self._client = client
        self._deadlines = deadlines
        self._guards = guards
        self._passed = passed

    async def run(self) -> None:
        """All but the ending. What the upstream does wrong is in the relay afterwards."""
        relay = self._relay
        try:
            while self._held:
                await self._send_held()
                if relay.ended or relay.failure or (self._guards is not None and self._guards.stopped_by is not None):
                    return
                await self._reply.pour(self._take)
            relay.finish_input()
        except UpstreamError as error:
            relay.break_off(error)

    def _take(self, batch: bytes) -> bool:
        relay = self._relay
        frames = relay.feed(batch)
        if frames:
            if self._guards is not None and not self._guards.covers(frames):
                self._held = frames
                return False
            self._write(frames)
        return not (relay.ended or relay.failure)

    async def _send_held(self) -> None:
        """The first frames, and those for which a guard had to ask somebody."""
        frames, self._held = self._held, b""
        frames = await self._passed(frames)
        if frames:
            self._deadlines.pause()
            await self._client.send(frames)
            self._deadlines.touch()

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
