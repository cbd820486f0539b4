"""What is JSON as a store keeps it, and is made into values only when somebody looks at one of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class Unread(Sequence[T]):
    """The values that ``_read`` makes, once. Equal to any sequence of the same ones."""

    __slots__ = ("_values",)

    _values: Sequence[T]

    @abstractmethod
    def _read(self) -> Sequence[T]:
        """Make the values; msgspec.DecodeError where that is no JSON of such."""

    @property
    def values(self) -> Sequence[T]:
        """All of them."""
        try:
            return self._values
        except AttributeError:  # nobody has looked yet
            self._values = values = self._read()
            return values

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self.values[index]

    def __eq__(self, other: object) -> bool:
        return [*self.values] == [*other] if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        # What people say does not belong into a log.
        return f"<{type(self).__name__}>"
