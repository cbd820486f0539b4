"""The messages of a conversation; and those that are JSON already, as a store keeps them, and are sent as they are.

Why: whoever goes on with a conversation sends all of it again. To make dictionaries of what was said earlier, and JSON
of them, costs more than all the rest that is done for a request with a long session; nearly always nobody looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from streamproxy.wire.unread import Unread

Message: TypeAlias = Mapping[str, Any]
"""One chat message as JSON: ``{"role": ..., "content": ..., ...}``, unknown fields kept."""

_MESSAGES = msgspec.json.Decoder(list[dict[str, Any]])


class SpelledMessages(Unread[Message]):
    """*head*, then *earlier*, then *new*. *earlier* is one message or more as JSON, with commas in between."""

    __slots__ = ("earlier", "head", "new")

    def __init__(self, head: Sequence[Message], earlier: bytes, new: Sequence[Message]) -> None:
        self.head = head
        self.earlier = earlier
        self.new = new

    def _read(self) -> Sequence[Message]:
        return [*self.head, *_MESSAGES.decode(b"[%b]" % self.earlier), *self.new]
