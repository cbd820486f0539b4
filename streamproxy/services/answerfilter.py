"""Moderation of a running answer: a guard that shows a text only as far as no phrase can begin in it.

Events wait in their order until all of their text is safe, and leave as they came; only one that is safe in
part is taken apart. Each text of each choice (content, reasoning, refusal, a call's arguments) has a window of
its own. When the answer goes on with another text, or the choice is finished, the one before is at its end.

An event that cannot be read cannot be looked through: it does not pass. Log probabilities do not pass either:
they repeat the answer, and name the words it might have used instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from streamproxy.domain.moderation import Window
from streamproxy.domain.streams import EndReason
from streamproxy.domain.wordlist import WordList
from streamproxy.wire import sse
from streamproxy.wire.chat import said as wire_said
from streamproxy.wire.chat.said import Path, Said


@dataclass(frozen=True, slots=True)
class _Part:
    """A text of an event: *begin* and *end* are its place in its window."""

    said: Said
    window: Window
    begin: int
    end: int

    @property
    def safe(self) -> str:
        return self.said.text[: max(self.window.safe - self.begin, 0)]


@dataclass(frozen=True, slots=True)
class _Held:
    """An event that waits."""

    frame: bytes
    chunk: dict[str, Any]
    parts: Sequence[_Part]

    @property
    def divisible(self) -> bool:
        """It has one text, and the beginning of that may pass."""
        return len(self.parts) == 1 and bool(self.parts[0].safe)

    @property
    def free(self) -> bool:
        return all(part.end <= part.window.safe for part in self.parts)


class AnswerFilter:
    """See the module."""

    reason = EndReason.FILTERED
    room = 0

    def __init__(self, words: WordList) -> None:
        self.stopped = False
        self._words = words
        self._windows: dict[tuple[int, Path], Window] = {}
        self._held: deque[_Held] = deque()
        self._choices: dict[int, bool] = {}

    @property
    def holding(self) -> bool:
        return bool(self._held)

    def covers(self, frames: bytes) -> bool:  # noqa: ARG002  # a Guard's
        """Words may go over the bounds of events: never without ``cut``."""
        return False

    async def cut(self, frames: bytes) -> bytes:
        """The events that may pass now; ``stopped`` is true once a phrase was found."""
        for event in frames.split(b"\n\n")[:-1]:
            self._read(event + b"\n\n")
        return self._released()

    async def rest(self) -> bytes:
        self._look(self._windows.values(), last=True)
        return self._released()

    def unfinished(self) -> Sequence[int]:
        return [index for index, is_finished in sorted(self._choices.items()) if not is_finished]

    def _read(self, frame: bytes) -> None:
        try:
            chunk = msgspec.json.decode(frame[6:])
            texts = wire_said.texts(chunk)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError):
            return
        if any(choice.get("logprobs") for choice in wire_said.choices(chunk)):
            chunk = wire_said.with_choices(chunk, logprobs=None)
            frame = _framed(chunk)
        parts = [self._added(text) for text in texts]
        self._held.append(_Held(frame, chunk, parts))
        for choice in wire_said.choices(chunk):
            index = wire_said.index_of(choice)
            self._choices.setdefault(index, False)
            self._look_at_choice(index, [part.window for part in parts], is_finished=wire_said.finished(choice))

    def _added(self, text: Said) -> _Part:
        window = self._windows.setdefault((text.choice, text.name), Window(self._words))
        begin = window.size
        window.add(text.text)
        return _Part(text, window, begin, window.size)

    def _look_at_choice(self, index: int, spoken: Sequence[Window], *, is_finished: bool) -> None:
        own = [window for (choice, _), window in self._windows.items() if choice == index]
        touched = [window for window in own if any(window is one for one in spoken)]
        if touched or is_finished:
            self._look([window for window in own if is_finished or window not in touched], last=True)
        self._look(touched, last=False)

    @staticmethod
    def _look(windows: Any, *, last: bool) -> None:
        for window in windows:
            if window.safe < window.size:
                window.look(last=last)

    def _released(self) -> bytes:
        """What waits no longer: whole events, and the beginning of the next one."""
        self.stopped = any(window.found is not None for window in self._windows.values())
        if self.stopped:
            self._look(self._windows.values(), last=True)
        out = []
        while self._held and self._held[0].free:
            held = self._held.popleft()
            out.append(held.frame)
            self._note_ends(held.chunk)
        if self._held and self.stopped:
            out.append(self._last(self._held.popleft()))
        elif self._held and self._held[0].divisible:
            out.append(self._beginning(self._held.popleft()))
        return b"".join(out)

    def _beginning(self, held: _Held) -> bytes:
        """The safe part of an event with one text; what is left of that waits on."""
        [part] = held.parts
        rest = wire_said.only_text(held.chunk, part.said, part.said.text[len(part.safe) :])
        [left] = wire_said.texts(rest)
        waiting = _Part(left, part.window, part.begin + len(part.safe), part.end)
        self._held.appendleft(_Held(_framed(rest), rest, [waiting]))
        return _framed(wire_said.with_text(held.chunk, part.said, part.safe))

    @staticmethod
    def _last(held: _Held) -> bytes:
        """What is safe of the event that the phrase begins in. Whose end it may bring is ended by us."""
        if not any(part.safe for part in held.parts):
            return b""
        shown = held.chunk
        for part in held.parts:
            shown = wire_said.with_text(shown, part.said, part.safe)
        return _framed(wire_said.with_choices(shown, finish_reason=None))

    def _note_ends(self, chunk: dict[str, Any]) -> None:
        for choice in wire_said.choices(chunk):
            if wire_said.finished(choice):
                self._choices[wire_said.index_of(choice)] = True


def _framed(chunk: dict[str, Any]) -> bytes:
    return sse.frame(msgspec.json.encode(chunk))
