"""Loaded by the interpreter of a server under ``make soak-load``: on a signal, a process says how many tasks it has.

Nobody outside can count the tasks of an event loop. The answer is a file named for the process, in $SOAK_COUNTS.
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
