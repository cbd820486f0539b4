"""Resumable streams: positions, what their log holds, and how it is packed.

The owner's list of payloads is the truth while it lives; the log is its copy for everybody elsewhere. Events are
numbered 1, 2, 3 … and the last one is terminal. An event id is ``<stream id>.<number>``; stream ids are random and
never reused, so a number alone can never be taken for one of another stream.

The ending that is written in a dead owner's place is number ``LOST_NUMBER``. The owner's own readers may have seen
events that the log never got: had the ending the next number of the log, one of them could come back with that number
for an event of its own, and would be taken for one that has seen the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from streamproxy.errors import BadRequestError

_STREAM_ID = re.compile(r"st_[A-Za-z0-9_-]{22}")
_EVENT_ID = re.compile(r"(st_[A-Za-z0-9_-]{22})\.(0|[1-9][0-9]{0,8})")


# Beyond every number that an event of an owner's can have (``services.livestream`` bounds them).
LOST_NUMBER = 1_000_000


class StreamState(StrEnum):
    """How a stream stands. Only ``running`` ever changes."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StreamHead:
    """What is known of a stream apart from its events.

    *said* are the request's new messages and its system message, for the day its worker dies. *created* is in epoch
    seconds. *request_id*, *endpoint* as in UsageRecord.
    """

    stream_id: str
    user_id: str
    model: str
    created: float
    request_id: str
    endpoint: str
    session_id: str | None = None
    said: Sequence[Mapping[str, Any]] = ()
    cancel_when_left: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """The terminal event. *payload* is the receipt (done) or the error body (failed) as one line of JSON."""

    state: StreamState
    payload: bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """Events first … first + len(payloads) - 1, and the ending right after them when the stream is over."""

    first: int
    payloads: tuple[bytes, ...] = ()
    ending: Ending | None = None

    @property
    def last(self) -> int:
        return self.first + len(self.payloads) - 1 + (self.ending is not None)

    def leaves_gap(self, after: int) -> bool:
        """Whether events between number *after* and this piece are known to be lost. What a dead owner had said beyond
        its log, nobody knows; the ending in its place says so."""
        return after + 1 < self.first < LOST_NUMBER

    def after(self, number: int) -> Piece:
        """Only what comes after *number*: batches overlap where a write was repeated."""
        skip = max(number + 1 - self.first, 0)
        if not skip:
            return self
        ending = self.ending if self.last > number else None
        return Piece(number + 1, self.payloads[skip:], ending)


@dataclass(frozen=True, slots=True)
class LogPage:
    """A look into the log: what came after the position, in order, and whether the owner is alive.

    *last* is the number of the newest event; *overdue* is how many seconds the owner's lease has been over, 0 while
    it holds.
    """

    pieces: tuple[Piece, ...] = ()
    state: StreamState = StreamState.RUNNING
    last: int = 0
    overdue: float = 0.0


class Verdict(StrEnum):
    """What became of an append."""

    WRITTEN = "written"
    FENCED = "fenced"
    MISSING = "missing"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class Appended:
    """*last* is what the log holds now: after ``gap`` the owner sends again from there."""

    verdict: Verdict
    last: int = 0
    read_seconds_ago: float = float("inf")


def checked_stream_id(text: str) -> str | None:
    """*text* when it can be a stream id, else None."""
    return text if _STREAM_ID.fullmatch(text) else None


def event_id(stream_id: str, number: int) -> str:
    """The id of event *number*."""
    return f"{stream_id}.{number}"


def position_after(text: str | None, stream_id: str) -> int:
    """The number in a ``Last-Event-ID`` of this stream, 0 without one. BadRequestError for any other."""
    if not text:
        return 0
    match = _EVENT_ID.fullmatch(text)
    if match is None or match[1] != stream_id:
        raise BadRequestError(
            "Last-Event-ID is not an event of this stream.", code="invalid_event_id", param="Last-Event-ID"
        )
    return int(match[2])


# -- at rest ----------------------------------------------------------------------------------------------------

# A payload that differs from its neighbours in the text alone is kept as the text between this …
_OPENING = b'"delta":{"content":"'
# … and this; a JSON string holds no bare quote, so the first one ends it.
_QUOTE = re.compile(rb'(?:[^"\\]|\\.)*')


@dataclass(frozen=True, slots=True)
class Template:
    """What the compact payloads of one stream have in common, before and behind their text."""

    before: bytes
    behind: bytes

    @classmethod
    def of(cls, payload: bytes) -> Template | None:
        """The template that *payload* suggests, None when it is no plain text delta."""
        at = payload.find(_OPENING)
        if at < 0:
            return None
        start = at + len(_OPENING)
        text = _QUOTE.match(payload, start)
        return None if text is None else cls(payload[:start], payload[text.end() :])

    def pack(self, payload: bytes) -> bytes:
        """``=text`` for a payload that fits, ``!payload`` for any other."""
        text = payload[len(self.before) : len(payload) - len(self.behind)]
        fits = len(payload) >= len(self.before) + len(self.behind)
        if fits and payload.startswith(self.before) and payload.endswith(self.behind):
            whole = _QUOTE.fullmatch(text)
            if whole is not None:
                return b"=" + text
        return b"!" + payload

    def unpack(self, line: bytes) -> bytes:
        return self.before + line[1:] + self.behind if line.startswith(b"=") else line[1:]


NO_TEMPLATE = Template(b"", b"\0")
"""Fits no payload: JSON ends with a brace."""
