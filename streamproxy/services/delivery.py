"""An answer on its way to one client, without a task between a read from the upstream and a write to the client.

Each batch is looked at by the relay and written within the callback that brought it. A client that takes no more
stops the reading of its own upstream and of no other. Where a guard has to ask somebody before events may pass, they
are held until it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from streamproxy.errors import UpstreamError
from streamproxy.services.calls import Answer
from streamproxy.services.deadlines import Deadlines
from streamproxy.services.guards import Guards
from streamproxy.wire.chat import Transcript


class Stamp(Protocol):
    """When something was last done."""

    # By the loop's time; None while it is not known.
    last: float | None


class FrameWriter(Protocol):
    """Who takes the frames: ``handlers.eventstream``, or ``services.driver`` for a stream that several may read."""

    def write(self, frames: bytes) -> asyncio.Future[None] | None:
        """Write whole events. A future where the client is behind, done when it has taken them."""

    async def send(self, frames: bytes) -> None:
        """Write whole events, and wait while the client takes no more."""

    def writer(self, written: Stamp) -> Callable[[bytes], asyncio.Future[None] | None]:
        """What does as ``write`` in the fewest steps, once the first events were sent; not for the ending.

        *written* tells when it was last used: a stamp for several is a step less than one for each.
        """


class Delivery:
    """One answer, one client. What it is sent is in the *transcript*."""

    __slots__ = (
        *("_client", "_deadlines", "_guards", "_held", "_loop", "_relay", "_reply", "_room", "_say", "_texts"),
        *("_transcript", "_write"),
    )

    def __init__(
        self,
        answer: Answer,
        client: FrameWriter,
        deadlines: Deadlines,
        *,
        guards: Guards,
        transcript: Transcript,
    ) -> None:
        self._reply = answer.reply
        self._relay = answer.relay
        self._held = answer.frames
        self._client = client
        self._deadlines = deadlines
        self._guards = guards
        self._transcript = transcript
        # So many bytes, which may be text, may pass before the guards are asked.
        self._room = guards.room
        self._loop = deadlines.loop
        # What nearly every batch needs, one attribute away.
        self._texts = answer.relay.text_events.texts
        self._say = transcript.add_texts
        self._write: Callable[[bytes], asyncio.Future[None] | None] = client.write

    async def run(self) -> None:
        """All but the ending. What the upstream does wrong is in the relay afterwards."""
        try:
            broken = await self._poured()
            if self._guards.holding:
                await self._send_rest()
            if not self._over:
                self._finish(broken)
        finally:
            self._report_usage()

    async def _poured(self) -> UpstreamError | None:
        """Everything that comes, to the client; returns what broke it off."""
        try:
            while self._held:
                await self._send_held()
                if self._over:
                    break
                self._write = self._client.writer(self._deadlines)
                await self._reply.pour(self._take)
        except UpstreamError as error:
            return error
        return None

    @property
    def _over(self) -> bool:
        return self._relay.over or self._guards.stopped_by is not None

    def _take(self, batch: bytes) -> bool:
        """Hand on what a read brought; False where nothing more is wanted, now or ever."""
        relay = self._relay
        if relay.between:
            # As nearly always: events that say text and nothing else, and few enough of it.
            texts = self._texts(batch)
            if texts is not None:
                room = self._room - len(batch) + len(texts) * relay.text_events.saved
                if room >= 0:
                    self._room = room
                    self._say(texts)
                    behind = self._write(batch)
                    if behind is None:
                        self._deadlines.last = self._loop.time()
                    else:
                        self._wait_for(behind)
                    return True
        return self._take_any(batch)

    def _take_any(self, batch: bytes) -> bool:
        """The same for a batch of whatever it may be."""
        relay = self._relay
        frames = relay.feed(batch)
        if frames:
            self._room -= relay.size
            if self._room < 0:
                if not self._covered(frames):
                    self._held = frames
                    return False
            else:
                relay.tell(self._transcript, frames)
            behind = self._write(frames)
            if behind is None:
                self._deadlines.last = self._loop.time()
            else:
                self._wait_for(behind)
        return not relay.over

    def _covered(self, frames: bytes) -> bool:
        """Whether the guards let *frames* pass at once."""
        self._relay.foretell(self._transcript, frames)
        covered = self._guards.covers(frames)
        self._look_at_guards()
        return covered

    def _look_at_guards(self) -> None:
        self._room = self._guards.room
        if self._guards.outgrown:
            self._relay.fail(UpstreamError("the answer is longer than allowed", code="output_too_large"))

    async def _send_held(self) -> None:
        """The first frames, and those for which a guard has to ask somebody."""
        frames = self._held
        if self._relay.size <= self._room:
            self._room -= self._relay.size
            self._relay.tell(self._transcript, frames)
        elif not self._covered(frames):
            frames = await self._guards.cut(frames)
            self._look_at_guards()
        self._held = b""
        if frames:
            self._deadlines.pause()
            await self._client.send(frames)
            self._deadlines.touch()

    async def _send_rest(self) -> None:
        if frames := await self._guards.rest():
            await self._client.send(frames)

    def _finish(self, broken: UpstreamError | None) -> None:
        relay = self._relay
        finished = self._transcript.read().finish_reason is not None
        if broken is None:
            relay.finish_input(finished=finished)
        else:
            relay.break_off(broken, finished=finished)

    def _report_usage(self) -> None:
        """Where events are left out, the usage of all of them says nothing of what was sent."""
        usage, guards = self._relay.usage, self._guards
        if usage is not None and not (self._held or guards.stopped_by or guards.holding):
            self._transcript.report(usage)

    def _wait_for(self, behind: asyncio.Future[None]) -> None:
        """While the client takes what it has, nobody waits for the upstream."""
        self._deadlines.pause()
        self._reply.pause()
        behind.add_done_callback(self._go_on)

    def _go_on(self, taken: asyncio.Future[None]) -> None:
        if not taken.cancelled():
            # The client may be gone: then this exchange is being cancelled, and nothing else is to be said.
            taken.exception()
        self._deadlines.touch()
        self._reply.resume()
