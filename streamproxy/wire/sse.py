"""Server-sent events, https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

Bytes in, events out, no I/O. The decoder takes whatever an upstream sends, cut anywhere: bytes that
are no UTF-8 become U+FFFD, unknown fields and comments vanish, and a line or event over the size cap
raises instead of filling the memory. The encoder cannot be talked into a second event or field.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from streamproxy.errors import UpstreamError

# A comment of exactly one newline: any blank line after an earlier ``id:`` would make openai-python dispatch an
# event without data and die of it (openai-python #2722).
HEARTBEAT: Final = b":\n"
DONE: Final = b"data: [DONE]\n\n"
# One event this large is a bug or an attack: the largest legitimate ones, a whole tool call or a base64 picture in
# one chunk, stay well below it.
MAX_EVENT_SIZE: Final = 1 << 20

# A number: ``in`` with bytes on its left raises and catches a TypeError each time (CPython's bytes_contains).
_LF, _CR = b"\n\r"
_BOM = b"\xef\xbb\xbf"
# Exactly the line ends of the specification: str.splitlines would also cut at U+2028, U+0085, \v and others.
_LINE_END = re.compile(r"\r\n|\r|\n")
_EVENT_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_EVENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# A longer number of milliseconds than 31 years is nonsense, and int() of a very long one raises.
_RETRY = re.compile(rb"[0-9]{1,12}")


class Event(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event. *id* and *retry* (milliseconds) are those in force: they outlive their own event."""

    data: str
    event: str = "message"
    id: str | None = None
    retry: int | None = None


class Decoder:
    """Turns the bytes of one event stream into events, incrementally and in linear time.

    *max_event_size* is in bytes, for one line and for all kept lines of one event together. It is also
    the most that is ever buffered. *begun*: events before these were read elsewhere.
    """

    def __init__(self, max_event_size: int = MAX_EVENT_SIZE, *, begun: bool = False) -> None:
        self._max_event_size = max_event_size
        # The stream's first bytes while they may be a BOM, None once that is known.
        self._head: bytes | None = None if begun else b""
        self._after_cr = False
        self._line = bytearray()
        self._data = bytearray()
        self._event = b""
        self._size = 0
        self._id: str | None = None
        self._retry: int | None = None
        self._too_large = False

    @property
    def pending(self) -> bool:
        """A line or event is unfinished, or was over the cap: a stream that ends now was cut in mid-event."""
        return bool(self._line or self._size or self._head or self._too_large)

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that *chunk* completes.

        UpstreamError ``upstream_event_too_large`` when a line or event exceeds the cap. Events that were
        complete before it are returned first; then the next call raises, whatever it is given.
        """
        events: list[Event] = []
        if not self._too_large:
            self._decode(chunk, events)
        if self._too_large and not events:
            raise UpstreamError(
                f"The upstream sent an event of more than {self._max_event_size} bytes", code="upstream_event_too_large"
            )
        return events

    def _decode(self, chunk: bytes, events: list[Event]) -> None:
        *lines, rest = self._split(chunk)
        if lines:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        for line in lines:
            if not line:
                self._dispatch(events)
            elif self._size + len(line) <= self._max_event_size:
                self._take(line)
            else:
                return self._overflow()
        if self._size + len(self._line) + len(rest) > self._max_event_size:
            return self._overflow()
        self._line += rest
        return None

    def _split(self, chunk: bytes) -> list[bytes]:
        """The lines of *chunk*, the last one unfinished. A CR ends its line at once; an LF after it is skipped."""
        if self._head is not None:
            chunk = self._without_bom(self._head + chunk)
        if not chunk:
            return [b""]
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        if _CR in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk.split(b"\n")

    def _without_bom(self, head: bytes) -> bytes:
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data += value + b"\n"
        elif name == b"event":
            self._event = value
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode(errors="replace")
        elif name == b"retry":
            if _RETRY.fullmatch(value):
                self._retry = int(value)
        else:
            return  # a comment (no name) or a field nobody knows
        self._size += len(line)

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            del self._data[-1:]
            name = self._event.decode(errors="replace") or "message"
            events.append(Event(self._data.decode(errors="replace"), name, self._id, self._retry))
            self._data.clear()
        self._event = b""
        self._size = 0

    def _overflow(self) -> None:
        self._too_large = True
        self._line.clear()
        self._data.clear()


def encode(data: str, *, event: str | None = None, id: str | None = None) -> bytes:  # noqa: A002 - the field's name
    """One event as bytes. ValueError when *event* or *id* holds what could end its line or name a field.

    A lone surrogate in *data* has no UTF-8 and becomes ``?``.
    """
    lines = []
    if event is not None:
        lines.append("event: " + _checked(_EVENT_NAME, event, "event"))
    if id is not None:
        lines.append("id: " + _checked(_EVENT_ID, id, "id"))
    lines += ["data: " + line for line in _LINE_END.split(data)]
    return ("\n".join(lines) + "\n\n").encode(errors="replace")


def _checked(pattern: re.Pattern[str], value: str, field: str) -> str:
    if pattern.fullmatch(value) is None:
        raise ValueError(f"{value!r} cannot be the {field} of an event: it must match {pattern.pattern}")
    return value


def frame(data: bytes) -> bytes:
    """The event whose data is *data*, which must be one line of JSON."""
    return b"data: " + data + b"\n\n"


def only_data(event: bytes) -> bytes | None:
    """The data of *event* where that is one ``data: `` line and its blank line, in valid UTF-8; None for any other.

    What a ``Decoder`` would find in it, between events, with C-level operations only.
    """
    data = event[6:-2]
    if (
        event[:6] == b"data: "
        and event[-2:] == b"\n\n"
        and _LF not in data
        and _CR not in data
        and len(data) <= MAX_EVENT_SIZE - 6
        and (data.isascii() or is_utf8(data))
    ):
        return data
    return None


def is_clean(frames: bytes) -> bool:
    """True when *frames* is whole events of one non-empty ``data: `` line each, in valid UTF-8, and nothing else.

    Such bytes may go to any client as they came. C-level operations only: this runs for every batch.
    """
    return (
        frames.startswith(b"data: ")
        and frames.endswith(b"\n\n")
        and _CR not in frames
        # No newline but those of the separators and of the end: no comment, no other field, no second data line.
        and frames.count(b"\n") == 2 * (frames.count(b"\n\ndata: ") + 1)
        and not frames.startswith(b"data: \n")
        and b"\n\ndata: \n" not in frames
        and (frames.isascii() or is_utf8(frames))
    )


def is_utf8(frames: bytes) -> bool:
    """Whether *frames* is valid UTF-8."""
    try:
        frames.decode()
    except UnicodeDecodeError:
        return False
    return True
