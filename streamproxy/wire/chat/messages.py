"""The messages of a conversation; and those that are JSON already, as a store keeps them, and are sent as they are.

Why: whoever goes on with a conversation sends all of it again. To make dictionaries of what was said earlier, and JSON
of them, costs more than all the rest that is done for a request with a long session; nearly always nobody looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from streamproxy.wire.unread import Unread

Message: TypeAlias = Mapping[str, Any]
"""One chat message as JSON: ``{"role": ..., "content": ..., ...}``, unknown fields kept."""

_MESSAGES = msgspec.json.Decoder(list[dict[str, Any]])


class SpelledMessages(Unread[Message]):
    """*head*, then *earlier*, then *new*. *earlier* are JSON arrays of messages."""

    __slots__ = ("_text",)

    def __init__(self, head: Sequence[Message], earlier: Iterable[bytes], new: Sequence[Message]) -> None:
        super().__init__()
        encode = msgspec.json.encode
        arrays = (encode(head), *earlier, encode(new))
        # Without their brackets; of an empty one nothing is left.
        self._text = b",".join(filter(None, [array[1:-1] for array in arrays]))

    @property
    def json(self) -> msgspec.Raw:
        """All of them, as an array."""
        return msgspec.Raw(b"[%b]" % self._text)

    def _read(self) -> Sequence[Message]:
        return _MESSAGES.decode(self.json)
