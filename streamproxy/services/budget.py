"""The token budget of a running answer: more is taken while there is room, then the answer is cut.

Only used where a token window is configured. No token is shorter than a byte, so the bytes of what was said bound its
tokens, and the bytes of its frames bound them too. Counting is exact and dear; it is put off twice:

- While the frames that nobody has looked at yet are no longer than what is reserved, nothing is looked at.
- While at least half of every token window is free, more is reserved by the bytes, in large pieces: some four times of
  what is needed, which is given back at the end. The store grants such a piece only where half of the window stays
  free with it (``spare``), in the same step that takes it: for others that half is left, whatever pieces are held. The
  first piece is taken in the step that admits the request, so that most answers need no other.

Beyond that half every token matters: what was said is counted, and what is reserved is what is needed. So an answer
is cut at the token that the window has no room for, however much was put off before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from streamproxy.domain.streams import EndReason
from streamproxy.wire.chat import Reading, Transcript

# While windows are mostly free, so much is taken beside what a request asks for: an answer of some 1,500 words.
FIRST_PIECE = 8_192
# And at least so much at a time by an answer that is longer.
SPARE_PIECE = 16_384
# Else more is asked for in pieces of at least so many tokens, so that a long answer costs one call in several
# hundred events; near the end of the window smaller pieces use up what is left.
PIECES = (512, 128, 32)
# Bytes of text that are counted on the loop: more would hold up every other stream.
MOST_AT_ONCE = 16_384


class Extend(Protocol):
    """Reserves more tokens."""

    async def __call__(self, tokens: int, *, spare: bool = False) -> bool:
        """Whether there was room; with *spare* only where half of each window stays free."""


class Counter(Protocol):
    """Counts the tokens of one model's texts: a ``domain.tokens.TokenCounter``."""

    def count(self, text: str) -> int:
        """Tokens of *text*."""


class AnswerBudget:
    """A guard: lets events pass as long as the tokens in them are covered by what was reserved, the *allowance*.

    *transcript* has what passed before, *counter* gives what counts a text's tokens, for which most answers never ask,
    *off_loop* counts one that may be long.
    """

    reason = EndReason.BUDGET
    holding = False

    def __init__(
        self,
        transcript: Transcript,
        *,
        counter: Callable[[], Awaitable[Counter]],
        off_loop: Callable[[str], Awaitable[int]],
        allowance: int,
        extend: Extend,
    ) -> None:
        self.stopped = False
        self.room = allowance
        self._transcript = transcript
        self._counter = counter
        # None while windows are mostly free.
        self._counts: Counter | None = None
        self._off_loop = off_loop
        self._allowance = allowance
        self._extend = extend
        # The beginning of what was said is counted: so many tokens, characters, bytes.
        self._tokens = self._characters = self._bytes = 0

    def covers(self, frames: bytes) -> bool:
        """Whether *frames* is covered by what is reserved already; then it is added to the transcript."""
        transcript = self._transcript
        uncounted = transcript.read().text_bytes - self._bytes
        self.room = free = self._allowance - self._tokens - uncounted
        size = len(frames)
        if size > free:
            said = transcript.foresee(frames)
            size = said.text_bytes
        if size <= free:
            self.room -= size
        elif self._counts is None or uncounted + size > MOST_AT_ONCE or not self._covers_exactly(said, self._counts):
            return False
        transcript.add(frames)
        return True

    def _covers_exactly(self, said: Reading, counter: Counter) -> bool:
        text = self._uncounted_text
        self._note(text, counter.count(text))
        tokens = counter.count(said.text)
        if self._tokens + tokens > self._allowance:
            return False
        self._note(said.text, tokens)
        self.room = self._allowance - self._tokens
        return True

    @property
    def _uncounted_text(self) -> str:
        return self._transcript.read().text[self._characters :]

    def _note(self, text: str, tokens: int) -> None:
        self._tokens += tokens
        self._characters += len(text)
        self._bytes += len(text.encode())

    async def cut(self, frames: bytes) -> bytes:
        """The events of *frames* that the budget covers; ``stopped`` is true when some were left out."""
        if self._counts is None:
            if await self._reserves_plenty(frames):
                return frames
            self._counts = await self._counter()
        text = self._uncounted_text
        self._note(text, await self._off_loop(text))
        passed = [frames] if await self._takes(frames) else await self._first_of(frames)
        self.room = self._allowance - self._tokens
        return b"".join(passed)

    async def _reserves_plenty(self, frames: bytes) -> bool:
        """Whether *frames* are covered by their bytes, more being reserved for them while windows are mostly free."""
        most = self._tokens + self._transcript.read().text_bytes - self._bytes
        most += self._transcript.foresee(frames).text_bytes
        missing = most - self._allowance
        # A long answer asks less and less often.
        piece = max(SPARE_PIECE, most // 2, missing)
        plenty = missing <= 0 or await self._extend(piece, spare=True)
        if missing > 0 and plenty:
            self._allowance += piece
        self.room = self._allowance - most
        return plenty

    async def _first_of(self, frames: bytes) -> Sequence[bytes]:
        """Not all of it has room: event by event, to the last one that has."""
        passed = []
        for event in frames.split(b"\n\n")[:-1]:
            frame = event + b"\n\n"
            if not await self._takes(frame):
                self.stopped = True
                break
            passed.append(frame)
        return passed

    async def _takes(self, frames: bytes) -> bool:
        """Count *frames*, reserving more for them where that is needed; False, and nothing counted, without room."""
        text = self._transcript.foresee(frames).text
        tokens = await self._off_loop(text)
        missing = self._tokens + tokens - self._allowance
        if missing > 0 and not await self._reserves(missing):
            return False
        self._note(text, tokens)
        return True

    async def _reserves(self, missing: int) -> bool:
        # A long answer asks less and less often.
        pieces = (max(PIECES[0], self._tokens // 2), *PIECES)
        for piece in (*(p for p in pieces if p > missing), missing):
            if await self._extend(piece):
                self._allowance += piece
                return True
        return False

    async def rest(self) -> bytes:
        """Nothing is ever held back."""
        return b""

    def unfinished(self) -> Sequence[int]:
        """The first choice: the only one whose tokens are counted."""
        return (0,)
