"""The token budget of a running answer: more is taken while there is room, then the answer is cut.

Only used where a token window is configured: it has to read every event while it streams.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from streamproxy.domain.streams import EndReason
from streamproxy.wire.chat import Transcript

# More is asked for in pieces of this many tokens, so that a long answer costs one call in several
# hundred events; near the end of the window smaller pieces use up what is left.
PIECES = (512, 128, 32)


class AnswerBudget:
    """A guard: lets events pass as long as the tokens in them are covered by what was reserved.

    *count* gives the tokens of a text, *extend* reserves more and says whether there was room.
    """

    reason = EndReason.BUDGET

    def __init__(
        self, *, count: Callable[[str], Awaitable[int]], allowance: int, extend: Callable[[int], Awaitable[bool]]
    ) -> None:
        self.stopped = False
        self._count = count
        self._allowance = allowance
        self._extend = extend
        self._used = 0

    async def cut(self, frames: bytes) -> bytes:
        """The events of *frames* that the budget covers; ``stopped`` is true when some were left out."""
        passed = []
        for event in frames.split(b"\n\n")[:-1]:
            frame = event + b"\n\n"
            if not await self._covers(frame):
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

    async def _covers(self, frame: bytes) -> bool:
        said = Transcript()
        said.add(frame)
        self._used += await self._count(said.text)
        missing = self._used - self._allowance
        if missing <= 0:
            return True
        for piece in (*(p for p in PIECES if p > missing), missing):
            if await self._extend(piece):
                self._allowance += piece
                return True
        return False
