"""The retry budget: retries are a share of the traffic, so that a failing upstream is not met with a flood.

The same idea as in Finagle and gRPC (retry throttling): every request earns a part of a retry. As in Finagle a
few come back by themselves: a site with little traffic whose upstream had a bad hour has its second tries again.
"""

from __future__ import annotations

from collections.abc import Callable

RETRY_SHARE = 0.2
# What may be spent before anything was earned, how fast that comes back (retries a second), the most that is saved up.
FLOOR = 10.0
RETURN = 1.0
CEILING = 100.0


class RetryBudget:
    """Counts what this worker may still spend on retries. *clock* gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._balance = FLOOR
        self._seen = clock()

    def earn(self) -> None:
        """A request came in."""
        self._balance += RETRY_SHARE
        if self._balance > CEILING:
            self._balance = CEILING

    def spend(self) -> bool:
        """Take one retry; False when the budget is used up."""
        now = self._clock()
        if self._balance < FLOOR:
            self._balance = min(self._balance + RETURN * (now - self._seen), FLOOR)
        self._seen = now
        if self._balance < 1:
            return False
        self._balance -= 1
        return True
