"""The token budget of a running answer: more is taken while there is room, then the answer is cut.

Only used where a token window is configured. Counting is put off as long as what is not counted yet cannot have
used up the budget: no token is shorter than a byte.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from streamproxy.domain.streams import EndReason
from streamproxy.wire.chat import Transcript

# More is asked for in pieces of at least so many tokens, so that a long answer costs one call in several
# hundred events; near the end of the window smaller pieces use up what is left.
PIECES = (512, 128, 32)
# Bytes of text that wait to be counted: their counting must not hold up the loop.
MOST_UNCOUNTED = 16_384


class AnswerBudget:
    """A guard: lets events pass as long as the tokens in them are covered by what was reserved.

    *count* gives the tokens of a text, *extend* reserves more and says whether there was room.
    """

    reason = EndReason.BUDGET

    def __init__(
        self, *, count: Callable[[str], int], allowance: int, extend: Callable[[int], Awaitable[bool]]
    ) -> None:
        self.stopped = False
        self._count = count
        self._allowance = allowance
        self._extend = extend
        self._used = 0
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._uncounted: list[str] = []
        self._uncounted_bytes = 0

    def covers(self, frames: bytes) -> bool:
        """Whether all of *frames* is covered by what is reserved already: then it is counted as passed."""
        room = self._allowance - self._used - self._uncounted_bytes
        if self._unread_bytes + len(frames) <= min(room, MOST_UNCOUNTED):
            self._unread.append(frames)
            self._unread_bytes += len(frames)
            return True
        self._read()
        text = _text(frames)
        size = len(text.encode())
        if self._uncounted_bytes + size > min(self._allowance - self._used, MOST_UNCOUNTED):
            self._count_all()
            tokens = self._count(text)
            if self._used + tokens > self._allowance:
                return False
            self._used += tokens
            return True
        self._uncounted.append(text)
        self._uncounted_bytes += size
        return True

    def _read(self) -> None:
        """Of what was not looked at yet, only the text matters."""
        if self._unread:
            text = _text(b"".join(self._unread))
            self._unread.clear()
            self._unread_bytes = 0
            self._uncounted.append(text)
            self._uncounted_bytes += len(text.encode())

    def _count_all(self) -> None:
        if self._uncounted:
            self._used += self._count("".join(self._uncounted))
            self._uncounted.clear()
            self._uncounted_bytes = 0

    async def cut(self, frames: bytes) -> bytes:
        """The events of *frames* that the budget covers; ``stopped`` is true when some were left out."""
        self._read()
        self._count_all()
        if await self._takes(frames):
            return frames
        # Not all of it has room: event by event, to the last one that has.
        passed = []
        for event in frames.split(b"\n\n")[:-1]:
            frame = event + b"\n\n"
            if not await self._takes(frame):
                self.stopped = True
                break
            passed.append(frame)
        return b"".join(passed)

    async def rest(self) -> bytes:
        """Nothing is ever held back."""
        return b""

    def unfinished(self) -> Sequence[int]:
        """The first choice: the only one whose tokens are counted."""
        return (0,)

    async def _takes(self, frames: bytes) -> bool:
        """Count *frames*, reserving more for them where that is needed; False, and nothing counted, without room."""
        tokens = self._count(_text(frames))
        missing = self._used + tokens - self._allowance
        if missing > 0 and not await self._reserves(missing):
            return False
        self._used += tokens
        return True

    async def _reserves(self, missing: int) -> bool:
        # A long answer asks less and less often.
        pieces = (max(PIECES[0], self._used // 2), *PIECES)
        for piece in (*(p for p in pieces if p > missing), missing):
            if await self._extend(piece):
                self._allowance += piece
                return True
        return False


def _text(frames: bytes) -> str:
    said = Transcript()
    said.add(frames)
    return said.text
