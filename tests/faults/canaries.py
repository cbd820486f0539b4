"""Secrets that are planted, and the search for them in everything that comes out."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.support.http import Reply


@dataclass(slots=True)
class Canaries:
    """Each is told by its kind. Letters and digits, so that no encoding on the way can hide one."""

    planted: dict[str, str] = field(default_factory=dict)
    seen: dict[str, bytes] = field(default_factory=dict)

    def plant(self, kind: str, prefix: str = "") -> str:
        """A new secret; *kind* names it in a failure."""
        value = f"{prefix}canary{secrets.token_hex(10)}"
        return self.know(f"{kind} {len(self.planted)}", value)

    def know(self, kind: str, value: str) -> str:
        """A secret that somebody else has made."""
        self.planted[kind] = value
        return value

    def take(self, where: str, text: bytes | str) -> None:
        """Something that came out."""
        data = text.encode() if isinstance(text, str) else text
        self.seen[where] = self.seen.get(where, b"") + b"\n" + data

    def take_answer(self, where: str, answer: Reply) -> Reply:
        """An answer's head; its body too, when it is an error."""
        head = "\n".join(f"{name}: {value}" for name, value in answer.head.fields)
        self.take(f"{where} ({answer.status})", head)
        if answer.status >= 400:
            self.take(f"{where} ({answer.status})", answer.body)
        return answer

    def found(self, kinds: Iterable[str] = ("",)) -> list[str]:
        """Which of the *kinds* (beginnings of their names) were found, and where."""
        return [
            f"{kind} in {where}"
            for kind, value in self.planted.items()
            if kind.startswith(tuple(kinds))
            for where, text in self.seen.items()
            if value.encode() in text
        ]
