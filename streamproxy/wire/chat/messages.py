"""The messages of a conversation; and those that are JSON already, as a store keeps them, and are sent as they are.

Why: whoever goes on with a conversation sends all of it again. To make dictionaries of what was said earlier, and JSON
of them, costs more than all the rest that is done for a request with a long session; nearly always nobody looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, overload

import msgspec

Message: TypeAlias = Mapping[str, Any]
"""One chat message as JSON: ``{"role": ..., "content": ..., ...}``, unknown fields kept."""

_READ = msgspec.json.Decoder(list[dict[str, Any]])


class SpelledMessages(Sequence[Message]):
    """*head*, then *earlier*, then *new*. *earlier* are JSON arrays of messages, which are read when somebody asks."""

    __slots__ = ("_messages", "_text")

    def __init__(self, head: Sequence[Message], earlier: Iterable[bytes], new: Sequence[Message]) -> None:
        encode = msgspec.json.encode
        arrays = (encode(head), *earlier, encode(new))
        # Without their brackets; of an empty one nothing is left.
        self._text = b",".join(filter(None, [array[1:-1] for array in arrays]))
        self._messages: list[Message] | None = None

    @property
    def json(self) -> msgspec.Raw:
        """All of them, as an array."""
        return msgspec.Raw(b"[%b]" % self._text)

    @property
    def _read(self) -> list[Message]:
        if self._messages is None:
            self._messages = [*_READ.decode(b"[%b]" % self._text)]
        return self._messages

    def __len__(self) -> int:
        return len(self._read)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        return self._read[index]

    def __iter__(self) -> Iterator[Message]:
        return iter(self._read)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence):
            return [*self._read] == [*other]
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        # What people say does not belong into a log.
        return f"<SpelledMessages of {len(self._text)} bytes>"
