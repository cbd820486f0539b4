"""Sessions: the 30-minute conversation context of one principal.

A session is a system message and a list of turns. A turn is what one request added: the new
messages and the answer, together or not at all. The rules here are pure; stores keep the values.

The values are Structs and no dataclasses: msgspec makes, compares and hashes them in C. The turns of a store are not
even made where all of them are sent again as they are (``KeptTurns``, ``truncation.whole``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from streamproxy.errors import BadRequestError
from streamproxy.wire import chat
from streamproxy.wire.unread import Unread

Message: TypeAlias = chat.Message

SYSTEM_ROLES = frozenset({"system", "developer"})
_SESSION_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class SessionRef(msgspec.Struct, frozen=True):
    """Names one session: the same *session_id* of two principals is two sessions."""

    principal_id: str
    session_id: str


class Turn(msgspec.Struct, frozen=True):
    """What one request added to the context. *tokens* is the size as it would be sent again, 0 when not known."""

    id: str
    messages: tuple[Message, ...]
    tokens: int


_SAID = msgspec.json.Decoder(tuple[dict[str, Any], ...])


class KeptTurns(Unread[Turn]):
    """Turns as a store keeps them, oldest first.

    *lines* has a line for each: its size in tokens, how many messages it has, its id. *tokens* is the sum of the sizes,
    0 when one of them is not known. *said* is what was said in each: messages as JSON, with commas in between.
    """

    __slots__ = ("_lines", "said", "tokens")

    def __init__(self, lines: bytes, tokens: int, said: Sequence[bytes]) -> None:
        self._lines = lines
        self.tokens = tokens
        self.said = said

    def __len__(self) -> int:
        return len(self.said)

    def spelled(self) -> bytes:
        """All that was said in them: messages as JSON, with commas in between and no brackets around."""
        return b",".join(filter(None, self.said))

    def _read(self) -> Sequence[Turn]:
        turns = []
        for line, messages in zip(self._lines.decode().split("\n"), self.said, strict=True):
            tokens, _, name = line.split(" ", 2)
            turns.append(Turn(name, _SAID.decode(b"[%b]" % messages), int(tokens)))
        return turns


class Context(msgspec.Struct, frozen=True):
    """A session's content. *turns* is oldest first; *expires_at* is in epoch seconds, 0 when new."""

    system: Message | None = None
    turns: Sequence[Turn] = ()
    expires_at: float = 0.0


EMPTY = Context()


class Queued(msgspec.Struct, frozen=True):
    """A turn that is not in its session yet. *arrival* is its place in the queue (µs, the store's), 0 for none."""

    arrival: int = 0


Place: TypeAlias = Context | Queued
NO_PLACE = Queued()


def checked_session_id(text: str) -> str:
    """Return *text* when it is a session id; BadRequestError says what one looks like."""
    if _SESSION_ID.fullmatch(text) is None:
        raise BadRequestError(
            "X-Session-Id must be 1 to 64 characters of A-Z a-z 0-9 . _ : -",
            code="invalid_session_id",
            param="X-Session-Id",
        )
    return text
