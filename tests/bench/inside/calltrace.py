"""Every call that a worker's event loop makes between two signals, Python's and C's, written to $CALLS_FILE as JSON.

A line a call: depth, "P" or "C", file, name, and the line of the caller. ``sys.setprofile`` tells them all.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

SIGNAL = signal.SIGRTMIN + 2


class CallTrace:
    """What was called since the first signal; the second one writes it."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._calls: list[tuple[int, str, str, str, int]] = []
        self._depth = 0
        self._on = False

    def install(self) -> None:
        """Have the loop of this process traced from its beginning: later it cannot be had for frames that run already
        (CPython 3.11 keeps the mark in the C frame).
        """
        signal.signal(SIGNAL, self._switch)
        run = asyncio.Runner.run

        def traced(runner: asyncio.Runner, *args: Any, **options: Any) -> Any:
            sys.setprofile(self._see)
            return run(runner, *args, **options)

        asyncio.Runner.run = traced  # type: ignore[method-assign]

    def _see(self, frame: FrameType, event: str, what: Any) -> None:
        if event == "call":
            if self._on:
                code, caller = frame.f_code, frame.f_back
                line = caller.f_lineno if caller else 0
                self._calls.append((self._depth, "P", code.co_filename, code.co_qualname, line))
            self._depth += 1
        elif event == "return":
            self._depth -= 1
        elif event == "c_call" and self._on:
            self._calls.append((self._depth, "C", what.__module__ or "", what.__qualname__, frame.f_lineno))

    def _switch(self, _number: int, _frame: FrameType | None) -> None:
        self._on = not self._on
        if self._on:
            self._calls.clear()
        else:
            new = self._place.with_suffix(".new")
            new.write_text(json.dumps(self._calls))
            new.rename(self._place)


def trace_workers(place: Path) -> None:
    """In every process that is forked from this one."""
    os.register_at_fork(after_in_child=lambda: CallTrace(place).install())
