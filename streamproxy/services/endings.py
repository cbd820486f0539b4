"""Where events end in a batch of whole ones, and where those begin that end a stream: C-level operations only."""

from __future__ import annotations

from streamproxy.services.plainevents import NO_USAGE
from streamproxy.wire import sse

# A finish reason, the usage, the end mark.
ENDING_EVENTS = 3
# A usage that is longer, with an end mark behind it, is found by those who look at every event.
ENDING_BYTES = 2048
_DONE_BYTES = len(sse.DONE)


def end_of_event(buffer: bytes, start: int, end: int) -> int:
    """Where the event at *start* ends, at *end* when nothing but a stray newline is left."""
    at = buffer.find(b"\n\n", start, end)
    return end if at < 0 else at + 2


def end_of_text(buffer: bytes, start: int, end: int) -> int:
    """Where behind *start*, where an event begins, the end mark is, or a usage before it; *end* without them."""
    stop = end
    if buffer[-_DONE_BYTES:] == sse.DONE:
        stop -= _DONE_BYTES
    first = stop - ENDING_BYTES
    at = buffer.rfind(b'"usage"', first if first > start else start, stop)
    if at < 0 or buffer.startswith(NO_USAGE, at):
        return stop
    blank = buffer.rfind(b"\n\n", start, at)
    return start if blank < 0 else blank + 2


def last_events(buffer: bytes) -> int:
    """Where the last events of *buffer* begin, which may be those that end a stream."""
    at = len(buffer)
    for _ in range(ENDING_EVENTS + 1):
        at = buffer.rfind(b"\n\n", 0, max(at, 0))
    return at + 2 if at >= 0 else 0
