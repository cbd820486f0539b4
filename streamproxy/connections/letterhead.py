"""What is the same at the head of every answer of a kind, made into lines once and not for each."""

from __future__ import annotations

from collections.abc import Mapping

from streamproxy.connections.fields import lines_of


class Letterhead:
    """*fields*, and the same as *lines* of a head, by their spelled names."""

    __slots__ = ("fields", "lines")

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = fields
        self.lines = lines_of(fields)
