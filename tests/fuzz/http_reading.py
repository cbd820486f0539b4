"""How h11, a parser that others wrote from the RFCs, reads a connection's bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import h11

MAX_HEAD: Final = 16384
# What h11 says when it refuses because of the message's length, and not of anything else.
_ABOUT_LENGTH: Final = ("Content-Length", "Transfer-Encoding", "chunk", "Content-length", "transfer-encoding")

# RFC 9112 knows no longest chunk size, h11 does: twenty digits. With zeros in front the number is the same to all.
_MANY_ZEROS: Final = re.compile(r"illegal chunk header: bytearray\(b'0{4,}[0-9A-Fa-f]{0,16}\\r\\n'\)")


@dataclass(frozen=True, slots=True)
class Message:
    """One whole request."""

    method: str
    target: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """*messages* are the requests that ended; *outcome* says what stands behind them.

    ``refused``: what follows is no request, *why* in h11's words. ``incomplete``: more bytes are needed.
    ``closed``: the last message asked for the connection's end, or h11 does not go on after it.
    """

    messages: tuple[Message, ...]
    outcome: str
    why: str = ""

    @property
    def about_length(self) -> bool:
        """Whether *why* is about the message's length: then nobody else may take the message."""
        if _MANY_ZEROS.search(self.why):
            return False
        return any(word in self.why for word in _ABOUT_LENGTH)


def read(data: bytes) -> Reading:
    """What h11, as a server, makes of *data*."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    connection.receive_data(data)
    messages: list[Message] = []
    while True:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                return Reading(tuple(messages), "refused", str(error))
            if event is h11.NEED_DATA:
                # Nothing of a further request, or the beginning of one.
                rest = bool(connection.trailing_data[0]) or head is not None
                return Reading(tuple(messages), "incomplete" if rest else "closed")
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return Reading(tuple(messages), "closed")
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
        assert head is not None
        messages.append(Message(head.method.decode("latin-1"), head.target.decode("latin-1"), bytes(body)))
        if not _answered(connection):
            return Reading(tuple(messages), "closed")


def _answered(connection: h11.Connection) -> bool:
    """Answer, so that the next request may be read; False when none may follow."""
    connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
        return False
    connection.start_next_cycle()
    return True
