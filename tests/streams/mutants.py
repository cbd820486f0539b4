"""``serve`` with one of its guards taken away: what the survival test has to notice.

python -m tests.streams.mutants NAME serve --port …
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from streamproxy.cli import main
from streamproxy.domain.streamlog import Ending, Piece
from streamproxy.stores.redis import scripts, streams


def _without(script: str, guard: str, instead: str) -> Callable[[], None]:
    """A Lua script with its *guard* replaced."""

    def apply() -> None:
        real = scripts.load_script
        source = real(script).source
        if guard not in source:
            raise LookupError(f"{script}.lua has no {guard!r}")
        mutant = scripts.Script.of(script, source.replace(guard, instead))
        streams.load_script = lambda name: mutant if name == script else real(name)  # type: ignore[assignment]

    return apply


def _no_filter() -> None:
    Piece.after = lambda self, _number: self  # type: ignore[method-assign]


def _no_reaper() -> None:
    async def nobody(_log: object, _stream_id: str, _ending: Ending, *, settling: int, patience: int) -> int:
        return min(settling, patience, 0)

    streams.RedisStreamLog._reap = nobody  # type: ignore[method-assign]


def _next_number() -> None:
    # What comes next where five events are in the log.
    streams.LOST_NUMBER = 6  # type: ignore[misc]


MUTANTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "no-fence": _without("append_stream", "if head[2] ~= 'running' then", "if false then"),
    "no-duplicate-filter": _no_filter,
    "no-gap-check": _without("append_stream", "if first ~= held + 1 then", "if false then"),
    "no-reaper": _no_reaper,
    "next-number": _next_number,
}

if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    main()
