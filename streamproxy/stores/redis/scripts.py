"""Lua scripts as values: the source, and the name Redis knows it by."""

from __future__ import annotations

import hashlib
import re
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


# Read once, before anybody is served: the day a file cannot be opened is the day they are needed most.
_FILES = {path.name: path.read_text("utf-8") for path in (files(__package__) / "lua").iterdir()}
# A server knows no modules: what several scripts share is put into each of them.
_SHARED = re.compile(r"^-- Here stands (\w+\.lua)\.$", re.MULTILINE)


def _script(file: str) -> Script:
    return Script.of(file.removesuffix(".lua"), _SHARED.sub(lambda found: _FILES[found[1]], _FILES[file]))


_SCRIPTS = {script.name: script for script in map(_script, _FILES)}


def load_script(name: str) -> Script:
    """``lua/<name>.lua`` of this package."""
    return _SCRIPTS[name]


_CLOCK = "local time = redis.call('TIME')"
# KEYS and ARGV of the whole are the first's, then the second's, of which there are always as many.
_CHAIN = """
{clock}

local function first(KEYS, ARGV)
{first}
end

local function second(KEYS, ARGV)
{second}
end

local keys, args = #KEYS - {keys}, #ARGV - {args}
local done = first({{ unpack(KEYS, 1, keys) }}, {{ unpack(ARGV, 1, args) }})
if type(done) == 'table' and done[1] ~= 1 then
    return {{ done }}
end
return {{ done, second({{ unpack(KEYS, keys + 1) }}, {{ unpack(ARGV, args + 1) }}) }}
"""


def chained(first: str, second: str, *, keys: int, args: int) -> Script:
    """Both scripts as one atomic step at one time, the second only where the first did not refuse.

    Asked with the keys and arguments of the first and then those of the second, which takes *keys* and *args* of them.
    A script that can refuse answers a list, which begins with 1 where it did not. The answer is a list of both's.
    """
    sources = [load_script(name).source for name in (first, second)]
    clock = _CLOCK if any(_CLOCK in source for source in sources) else ""
    own = [source.replace(_CLOCK, "") for source in sources]
    return Script.of(f"{first}+{second}", _CHAIN.format(clock=clock, first=own[0], second=own[1], keys=keys, args=args))
