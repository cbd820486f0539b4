"""How many connections each worker has, for workers that accept from one socket: so that none takes nearly all.

A new connection wakes all of them, and who is awake already takes it, again and again. Measured: 500 streams went 3 : 1
to two workers, and one was late while the other rested. So a worker that has more than another steps back for a
moment, and then takes what nobody else wanted.
"""

from __future__ import annotations

import mmap

# Some more than another has is none too many; neither is an eighth.
FEW = 4
# A worker that accepts nothing is not waited for.
_ABSENT = 2**32 - 1


class Crowd:
    """The counts of *workers*, in memory that a process shares with those that it forks."""

    def __init__(self, workers: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * workers)).cast("I")
        self._seats = [Seat(self._counts, slot) for slot in range(workers)]

    def seat(self, slot: int) -> Seat:
        """The place of a new worker with that number, from 0 on: what the one before it had is forgotten."""
        self._seats[slot].leave()
        return self._seats[slot]


class Seat:
    """One worker's place, which nobody else writes to."""

    def __init__(self, counts: memoryview[int], slot: int) -> None:
        self._counts = counts
        self._slot = slot
        self.leave()

    def have(self, connections: int) -> None:
        """Tell the others how many there are here."""
        self._counts[self._slot] = connections

    def leave(self) -> None:
        """Tell them that nothing is accepted here."""
        self.have(_ABSENT)

    @property
    def is_full(self) -> bool:
        """Whether another worker has clearly fewer."""
        own = self._counts[self._slot]
        return own - min(self._counts) > max(FEW, own >> 3)
