"""Values that all workers of a machine share, through files in ``PROMETHEUS_MULTIPROC_DIR``.

prometheus_client names each process' files by its pid, so that every worker that ever died would leave a set behind.
Here a worker takes the lowest number that no living one holds, by a lock that the kernel frees when it dies, and goes
on in the files that the number's former holder left: counters stay what they were, and there are never more files
than workers that live at once.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.values import MultiProcessValue

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class SharedFiles:
    """This worker's place among those that share *folder*."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        number = 0
        while (lock := _locked(self._lock_path(number))) is None:
            number += 1
        self._lock = lock
        self.number = number
        # What the former holder of this number said of itself died with it.
        mark_process_dead(number, str(folder))  # type: ignore[no-untyped-call]  # the library's own gap
        # The library's own door for processes that are not told apart by their pid.
        values.ValueClass = MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]

    def bury_the_dead(self) -> None:
        """Drop what dead workers said of themselves, so that they do not count as running any more."""
        for path in self._folder.glob("gauge_live*_*.db"):
            number = int(path.stem.rpartition("_")[2])
            if number != self.number and (lock := _locked(self._lock_path(number))) is not None:
                mark_process_dead(number, str(self._folder))  # type: ignore[no-untyped-call]
                os.close(lock)

    def close(self) -> None:
        """Leave: the number is free again, what was counted stays, what was said of this worker goes."""
        mark_process_dead(self.number, str(self._folder))  # type: ignore[no-untyped-call]
        os.close(self._lock)

    def _lock_path(self, number: int) -> Path:
        return self._folder / f"{number}.lock"


def open_registry() -> tuple[CollectorRegistry, SharedFiles | None]:
    """Where instruments are read, and the shared files if there are several workers to answer for."""
    registry = CollectorRegistry()
    folder = os.environ.get(_VARIABLE)
    if folder is None:
        return registry, None
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry, SharedFiles(Path(folder))


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock on *path*, None when another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor
    os.close(descriptor)
    return None
