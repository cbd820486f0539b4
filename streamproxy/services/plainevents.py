"""Tells the events that may leave as they came: whole, of one ``data:`` line, of one completion, no usage, no error.

C-level operations only, on whole batches: this is most of what a stream costs. Nearly all events of a stream begin
with the same bytes, up to their choices. Those are learnt from the stream itself, and whatever begins so needs only to
be searched for what would make it another kind of event.
"""

from __future__ import annotations

import msgspec

from streamproxy.wire import sse

_CR = ord("\r")
# What must not pass unread. In a JSON text these byte strings occur as keys only: inside a string value
# the quotes are escaped.
_MARKS = (b'"error"', b'"usage"', b"data: [DONE]")
NO_USAGE = (b'"usage":null', b'"usage": null')
# One of the two spellings in every event: a value of another type has to be read.
_CHOICES = (b'"choices":[', b'"choices": [')
# What is no text is left out where it is counted how much is kept: not if it is an upstream's way to have more kept.
LONGEST_SKELETON = 512
# The beginning of no event that is alike.
_UNKNOWN = b"\r"


class PlainEvents(msgspec.Struct, eq=False, gc=False):
    """What is plain in one stream: nothing before its completion has an ``id``. All its events have one *beginning*."""

    id: bytes | None = None
    beginning: bytes = _UNKNOWN
    # So many bytes of each that is alike are no text.
    skeleton: int = 0
    _length: int = 1
    _seam: bytes = b""

    def alike(self, frames: bytes) -> bool:
        """Whether *frames* is whole events that begin as those before them, and plain."""
        start = self._length
        return (
            frames.startswith(self.beginning)
            and frames[-3:] == b"}\n\n"
            # An event has no newline but its last two, and the next one the same beginning behind them.
            and 2 * frames.count(self._seam) + 2 == frames.count(b"\n")
            and frames.find(b'"error"', start) < 0
            and (frames.find(b'"usage"', start) < 0 or _no_usage(frames))
            and _CR not in frames
            and (frames.isascii() or sse.is_utf8(frames))
        )

    def hold(self, frames: bytes) -> bool:
        """Whether the events of *frames*, in which is no mark, are plain; then it is known how they begin."""
        if self.id is None:
            return False
        events = frames.count(b"\n\n")
        plain = (
            frames.count(self.id) == events
            and any(frames.count(choices) == events for choices in _CHOICES)
            and frames.startswith(b"data: {")
            and frames.count(b"}\n\ndata: {") == events - 1
            and frames.endswith(b"}\n\n")
            and sse.is_clean(frames)
        )
        if plain:
            self.learn(frames[frames.rfind(b"\n\n", 0, -2) + 2 :])
        return plain

    def learn(self, event: bytes) -> None:
        """Note how *event* begins, which is plain: the next will begin so, unless choices come before the id."""
        for choices in _CHOICES:
            beginning, found, _ = event.partition(choices)
            if found and self.id is not None and self.id in beginning:
                self.beginning = beginning + found
                self._length = length = len(self.beginning)
                self.skeleton = length if length < LONGEST_SKELETON else LONGEST_SKELETON
                self._seam = b"}\n\n" + self.beginning
                return

    @staticmethod
    def first_mark(buffer: bytes, start: int, end: int) -> int:
        """Where the first event begins that must be read, *end* when there is none."""
        first = end
        for mark in _MARKS:
            at = buffer.find(mark, start, first)
            while at >= 0 and buffer.startswith(NO_USAGE, at):
                at = buffer.find(mark, at + 1, first)
            first = at if at >= 0 else first
        return end if first == end else max(buffer.rfind(b"\n\n", start, first) + 2, start)


def _no_usage(frames: bytes) -> bool:
    """Whether each usage is null."""
    return frames.count(b'"usage"') == sum(frames.count(null) for null in NO_USAGE)
