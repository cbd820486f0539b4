"""Time in the test's hands: the one clock line of each script replaced by arguments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from streamproxy.stores.redis.connect import Argument, Call, RedisLink
from streamproxy.stores.redis.scripts import Script

CLOCK_LINE = "local time = redis.call('TIME')"
ARGUMENT_LINE = "local micros = table.remove(ARGV) local time = { table.remove(ARGV), micros }"
NOON = 1_800_014_400  # 2027-01-15 12:00 UTC


@cache
def timed(script: Script) -> Script:
    assert script.source.count(CLOCK_LINE) == script.source.count("'TIME'"), f"{script.name} reads the time its own way"
    return Script.of(f"timed {script.name}", script.source.replace(CLOCK_LINE, ARGUMENT_LINE))


class ClockedLink(RedisLink):
    """A link whose scripts believe that it is *now* (microseconds)."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self.now = NOON * 1_000_000

    @property
    def ordered(self) -> bool:
        return False

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1_000_000)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        return (await self.run_many([(script, keys, args)]))[0]

    async def run_and_read(self, call: Call, reading: Sequence[Argument]) -> tuple[Any, Any]:
        return await self.run(*call), await self.command(*reading)

    async def run_many(self, calls: Sequence[Call]) -> list[Any]:
        return await self._link.run_many([self._timed(call) for call in calls])

    def _timed(self, call: Call) -> Call:
        script, keys, args = call
        if CLOCK_LINE not in script.source:
            return call
        seconds, micros = divmod(self.now, 1_000_000)
        return timed(script), keys, [*args, seconds, micros]

    async def command(self, *args: Argument) -> Any:
        return await self._link.command(*args)
