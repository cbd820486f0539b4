"""What a running answer passes before the client gets it: guards, one behind the other.

Only where there is a guard are events read one by one. What has passed all of them is what the client saw, and
so what is kept and counted of an answer that did not come to its own end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streamproxy.domain.streams import EndReason
from streamproxy.services.relay import UNREAD_BYTES
from streamproxy.wire.chat import Transcript


class Guard(Protocol):
    """Lets events pass until it ``stopped``; then the answer ends for its *reason*."""

    reason: EndReason
    stopped: bool

    def covers(self, frames: bytes) -> bool:
        """Whether all of *frames* may pass, found out at once and noted; False: ask ``cut``, and wait."""

    async def cut(self, frames: bytes) -> bytes:
        """Those of the events in *frames*, and of those held back before, that may pass now."""

    async def rest(self) -> bytes:
        """What was held back of an answer that is over, as far as it may pass."""

    def unfinished(self) -> Sequence[int]:
        """The indexes of the choices that have no end yet."""


class Guards:
    """Several guards as one."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        self.delivered = Transcript()
        self.stopped_by: Guard | None = None
        # Everything has come and has passed.
        self.complete = False
        self._guards = guards
        self._unread = 0

    def covers(self, frames: bytes) -> bool:
        """Whether *frames* passes, where that can be found out without waiting: with one guard it may be."""
        if len(self._guards) != 1 or not self._guards[0].covers(frames):
            return False
        self._keep(frames)
        return True

    async def cut(self, frames: bytes) -> bytes:
        """What of *frames* passes all of them; afterwards look at ``stopped_by``."""
        return await self._through(frames, last=False)

    async def rest(self) -> bytes:
        """What they held back of an answer that is over."""
        if self.stopped_by is not None:
            return b""
        frames = await self._through(b"", last=True)
        self.complete = self.stopped_by is None
        return frames

    async def _through(self, frames: bytes, *, last: bool) -> bytes:
        for guard in self._guards:
            frames = await guard.cut(frames)
            if last and not guard.stopped:
                frames += await guard.rest()
            if guard.stopped:
                # A later one cuts what the earlier let through: the last to stop is the one that ended it.
                self.stopped_by = guard
        if frames:
            self._keep(frames)
        return frames

    def _keep(self, frames: bytes) -> None:
        self.delivered.add(frames)
        self._unread += len(frames)
        if self._unread > UNREAD_BYTES:
            self.delivered.read()
            self._unread = 0
