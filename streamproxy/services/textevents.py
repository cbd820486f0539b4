"""Takes the texts out of events that differ in their text only, as nearly all events of a long answer do.

What stands around the text is learnt from one such event. Whatever begins and ends so, with nothing in between that
would end a JSON string or a line, is one more: it need not be searched for anything, and what it says is known
without reading it as JSON. This runs for every batch: where there is one event, C-level operations only.
"""

from __future__ import annotations

import re
import sys

import msgspec

from streamproxy.wire import sse
from streamproxy.wire.chat import plain_text

# Numbers, as ``wire.sse`` has them and for its reason.
_QUOTE, _ESCAPE, _LF, _CR = b'"\\\n\r'
_CONTENT = re.compile(rb'"content": ?"')
# Two: one may be what the upstream itself says, elsewhere in the event.
_PROBES = ("probe", "another")
# Of longer events the text is most, or an upstream wants much to be kept.
LONGEST_EVENT = 4096
# What a text counts for beside its bytes: many of nothing are kept, too.
BYTES_A_TEXT = 8


class TextEvents(msgspec.Struct, eq=False, gc=False):
    """The events of one stream that say text; none, before one was studied.

    *saved* is how many bytes less than an event its text takes.
    """

    saved: int = 0
    _missed: int = 0
    _opening: bytes = b""
    _closing: bytes = b""
    # The bytes of both: more than any event has, before one was studied.
    _around: int = sys.maxsize
    _seam: bytes = b""
    _first: int = 0

    def texts(self, frames: bytes) -> list[bytes] | None:
        """What the events of *frames* say, as JSON spells it, without quotes; None where they are not all like that."""
        text = frames.removeprefix(self._opening).removesuffix(self._closing)
        if len(frames) - len(text) != self._around:
            return None
        if _QUOTE in text:
            return self._several(frames)
        if not text or _LF in text or _CR in text or text[-1] == _ESCAPE or not (text.isascii() or sse.is_utf8(text)):
            return None
        return [text]

    def _several(self, frames: bytes) -> list[bytes] | None:
        *events, _ = frames.split(self._closing)
        if frames.count(self._seam) != len(events) - 1:
            return None
        first = self._first
        # A beginning and an end may overlap; what has both sides of a seam does not.
        if min(len(events[0]), len(events[-1])) < first:
            return None
        texts = [event[first:] for event in events]
        text = b"".join(texts)
        if _QUOTE in text or _LF in text or _CR in text or not (frames.isascii() or sse.is_utf8(frames)):
            return None
        if _ESCAPE in text and any(text.endswith(b"\\") for text in texts):
            return None
        return texts

    def study(self, frames: bytes, beginning: bytes) -> None:
        """Learn from the last event of *frames*, which has the *beginning* of all plain ones, if it only says text.

        A stream changes what it writes around its texts when it has thought or has called a tool; one with something
        new in every event has nothing to learn. So of those that were missed the first, second, fourth … are studied.
        """
        self._missed += 1
        if self._missed & (self._missed - 1):
            return
        event = frames[frames.rfind(b"\n\n", 0, -2) + 2 :] if frames.find(b"\n\n") < len(frames) - 2 else frames
        found = _CONTENT.search(event, len(beginning))
        if found is None or not event.startswith(beginning) or event.find(b"\n") != len(event) - 2:
            return
        opening, closing = event[: found.end()], event[event.find(b'"', found.end()) :]
        if len(opening) + len(closing) > LONGEST_EVENT or not (event.isascii() or sse.is_utf8(event)):
            return
        # Whatever else stands there, another text may stand in its place.
        if all(plain_text(b"%b%b%b" % (opening, probe.encode(), closing)) == probe for probe in _PROBES):
            self._opening, self._closing, self._seam = opening, closing, closing + opening
            self._first, self._around = len(opening), len(self._seam)
            self.saved = self._around - BYTES_A_TEXT
