"""Lua scripts as values: the source, and the name Redis knows it by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
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


_SCRIPTS = {
    # Read once, before anybody is served: the day a file cannot be opened is the day they are needed most.
    path.name.removesuffix(".lua"): Script.of(path.name.removesuffix(".lua"), path.read_text("utf-8"))
    for path in (files(__package__) / "lua").iterdir()
}


def load_script(name: str) -> Script:
    """``lua/<name>.lua`` of this package."""
    return _SCRIPTS[name]
