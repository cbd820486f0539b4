"""What a running answer passes before the client gets it: guards, one behind the other, or none.

What has passed all of them is what the client saw, and so what is kept and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from streamproxy.domain.streams import EndReason
from streamproxy.services.order import Interruption
from streamproxy.wire.chat import Transcript

# Frames of a long answer are some ten times as long as their text: they are kept only so far. Of each event only what
# may be text is counted, a third or a fourth; where the text itself is kept, that and a little more.
UNREAD_BYTES = 1 << 16


class Guard(Protocol):
    """Lets events pass until it ``stopped``; then the answer ends for its *reason*."""

    reason: EndReason
    stopped: bool

    @property
    def room(self) -> int:
        """So many bytes of text may pass without a question."""

    @property
    def holding(self) -> bool:
        """Whether events wait in it."""

    def covers(self, frames: bytes) -> bool:
        """Whether all of *frames* may pass, found out at once, and added to the transcript; False: wait for ``cut``."""

    async def cut(self, frames: bytes) -> bytes:
        """Those of the events in *frames*, and of those held back before, that may pass now."""

    async def rest(self) -> bytes:
        """What was held back of an answer that is over, as far as it may pass."""

    def unfinished(self) -> Sequence[int]:
        """The indexes of the choices that have no end yet."""


class Guards:
    """Several guards as one. What passes is added to the *transcript*; *stop* is told why an answer ends here.

    It is ``outgrown`` when its text has more than *max_bytes*, noticed some thousand events late at most.
    """

    def __init__(
        self,
        guards: Sequence[Guard],
        transcript: Transcript,
        *,
        max_bytes: int,
        stop: Callable[[Interruption], None],
    ) -> None:
        # So many bytes of text may pass without a question, if they are added to the transcript.
        self.room = UNREAD_BYTES
        self.stopped_by: Guard | None = None
        self.outgrown = False
        # Whether events have come that have not passed.
        self.holding = False
        self._max_bytes = max_bytes
        self._guards = guards
        # The first, where there is no other.
        self._only = guards[0] if len(guards) == 1 else None
        self._transcript = transcript
        self._stop = stop
        self._unread = 0
        for guard in guards:
            if guard.room < self.room:
                self.room = guard.room

    def covers(self, frames: bytes) -> bool:
        """Whether *frames* passes, where that can be found out without waiting: with more than one guard it cannot."""
        only = self._only
        if only is not None:
            covered = only.covers(frames)
            room = only.room
            self.room = room if room < UNREAD_BYTES else UNREAD_BYTES
            if not covered:
                return False
        elif self._guards:
            return False
        else:
            self._transcript.add(frames)
            self._transcript.read()
        self.outgrown = self._transcript.reading.text_bytes > self._max_bytes
        return True

    async def cut(self, frames: bytes) -> bytes:
        """What of *frames* passes all of them; afterwards look at ``stopped_by``."""
        return await self._through(frames, last=False)

    async def rest(self) -> bytes:
        """What they held back of an answer that is over."""
        if self.stopped_by is not None or not self.holding:
            return b""
        return await self._through(b"", last=True)

    async def _through(self, frames: bytes, *, last: bool) -> bytes:
        # Until it is known better: who is cancelled here has let nothing pass.
        self.holding, holding, room = True, False, UNREAD_BYTES
        for guard in self._guards:
            if frames:
                frames = await guard.cut(frames)
            if last and not guard.stopped:
                frames += await guard.rest()
            if guard.stopped:
                # A later one cuts what the earlier let through: the last to stop is the one that ended it.
                self.stopped_by = guard
            holding = holding or guard.holding
            if guard.room < room:
                room = guard.room
        self.holding, self.room = holding, room
        if frames:
            self._keep(frames)
        if self.stopped_by is not None:
            self._stop(Interruption(self.stopped_by.reason))
        return frames

    def _keep(self, frames: bytes) -> None:
        self._transcript.add(frames)
        self._unread += len(frames)
        if self._unread > UNREAD_BYTES:
            self._unread = 0
            self.outgrown = self._transcript.read().text_bytes > self._max_bytes
