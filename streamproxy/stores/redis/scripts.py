"""Lua scripts as values: the source, and the name Redis knows it by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """One atomic step. *sha* is the SHA-1 that EVALSHA asks for: a name, no protection."""

    name: str
    source: str
    sha: str

    @classmethod
    def of(cls, name: str, source: str) -> Script:
        return cls(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@cache
def load_script(name: str) -> Script:
    """Read ``lua/<name>.lua`` from the package."""
    return Script.of(name, (files(__package__) / "lua" / f"{name}.lua").read_text("utf-8"))
