"""Loaded by the interpreter of a server that is looked into from inside.

Under ``make soak-load`` a process says on a signal how many tasks it has: nobody outside can count the tasks of an
event loop. The answer is a file named for the process, in $SOAK_COUNTS. Under ``make calls`` see calltrace.py.
"""

import asyncio
import os
import signal
from pathlib import Path
from types import FrameType


def _tell(_number: int, _frame: FrameType | None) -> None:
    try:
        count = len(asyncio.all_tasks())
    except RuntimeError:  # this process has no loop
        return
    place = Path(os.environ["SOAK_COUNTS"], str(os.getpid()))
    place.with_suffix(".new").write_text(str(count))
    place.with_suffix(".new").rename(place)


if "SOAK_COUNTS" in os.environ:
    signal.signal(signal.SIGRTMIN + 1, _tell)

if "CALLS_FILE" in os.environ:
    from calltrace import trace_workers

    trace_workers(Path(os.environ["CALLS_FILE"]))
