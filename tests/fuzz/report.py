"""How far a run is: counts, seed, speed, memory; a line every few seconds on a terminal or in a log."""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from random import Random

EVERY_SECONDS = 5.0


class Report:
    """One run of *count* inputs by *seed*. ``seen`` counts what became of them."""

    def __init__(self, name: str, *, count: int, seed: int, quiet: bool = False) -> None:
        self.name = name
        self.count = count
        self.seed = seed
        self.random = Random(seed)
        self.seen: Counter[str] = Counter()
        self.done = 0
        self._quiet = quiet
        self._began = self._spoke = time.monotonic()

    def inputs(self) -> Iterator[int]:
        """The numbers of the inputs; says now and then how far it is."""
        for number in range(self.count):
            yield number
            self.step()

    def step(self) -> None:
        self.done += 1
        if not self._quiet and time.monotonic() - self._spoke > EVERY_SECONDS:
            self._spoke = time.monotonic()
            print(self, file=sys.stderr, flush=True)

    def __str__(self) -> str:
        seconds = time.monotonic() - self._began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        seen = "".join(f", {name} {count:,}" for name, count in sorted(self.seen.items()))
        return (
            f"{self.name}: {self.done:,} of {self.count:,} inputs, seed {self.seed}, {seconds:.0f} s, "
            f"{self.done / max(seconds, 1e-9):,.0f}/s, {memory} MiB{seen}"
        )
