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
# ARGV of the whole: how many keys and how many arguments are the first's, its arguments, the second's.
_CHAIN = """
{clock}

local function first(KEYS, ARGV)
{first}
end

local function second(KEYS, ARGV)
{second}
end

local keys, args = tonumber(ARGV[1]), tonumber(ARGV[2])
local done = first({{ unpack(KEYS, 1, keys) }}, {{ unpack(ARGV, 3, args + 2) }})
if type(done) == 'table' and done[1] ~= 1 then
    return {{ done }}
end
return {{ done, second({{ unpack(KEYS, keys + 1) }}, {{ unpack(ARGV, args + 3) }}) }}
"""


def chained(first: str, second: str) -> Script:
    """Both scripts as one atomic step at one time, the second only where the first did not refuse.

    A script that can refuse answers a list, which begins with 1 where it did not. The answer is a list of both's.
    """
    sources = [load_script(name).source.replace(_CLOCK, "") for name in (first, second)]
    return Script.of(f"{first}+{second}", _CHAIN.format(clock=_CLOCK, first=sources[0], second=sources[1]))
