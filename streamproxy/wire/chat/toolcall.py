"""Tool calls put together from the pieces a stream brings them in.

Never raises: pieces that are no objects, or contradict what came before, change nothing.
"""

from __future__ import annotations

from typing import Any


class ToolCalls:
    """The calls of one answer, in order of their ``index``."""

    def __init__(self) -> None:
        self._calls: dict[int, _ToolCall] = {}
        self._newest = 0

    def add(self, pieces: object) -> None:
        """Take the ``tool_calls`` of one delta, or of a whole message."""
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, dict):
                self._newest = self._place(piece)
                self._calls.setdefault(self._newest, _ToolCall()).add(piece)

    def _place(self, piece: dict[str, Any]) -> int:
        index = piece.get("index")
        if isinstance(index, int):
            return index
        # Whole messages, and small servers' deltas, carry no index: an id begins a call, anything else goes on with it.
        return max(self._calls, default=-1) + 1 if piece.get("id") else self._newest

    def merged(self) -> list[dict[str, Any]]:
        """The calls as a message holds them."""
        return [self._calls[index].merged() for index in sorted(self._calls)]


class _ToolCall:
    """One call. Name and ``arguments`` (``input`` of a custom tool) come in pieces, all else comes once."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._texts: dict[tuple[str, str], list[str]] = {}

    def add(self, piece: dict[str, Any]) -> None:
        for name, value in piece.items():
            if name in ("function", "custom"):
                if isinstance(value, dict):
                    self._add_body(name, value)
            elif value is not None and value != "" and name != "index":
                self._fields.setdefault(name, value)

    def _add_body(self, name: str, body: dict[str, Any]) -> None:
        known = self._fields.setdefault(name, {})
        for part, value in body.items():
            if part not in ("name", "arguments", "input"):
                known.setdefault(part, value)
            elif isinstance(value, str):
                # A list, because adding to a string of a megabyte a few characters at a time is quadratic.
                texts = self._texts.setdefault((name, part), [])
                # Some servers say the whole name in every piece.
                if part != "name" or texts != [value]:
                    texts.append(value)

    def merged(self) -> dict[str, Any]:
        fields = dict(self._fields)
        for (name, part), texts in self._texts.items():
            fields[name] = {**fields[name], part: "".join(texts)}
        return fields
