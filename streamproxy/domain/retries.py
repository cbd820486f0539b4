"""The retry budget: retries are a share of the traffic, so that a failing upstream is not met with a flood.

The same idea as in Finagle and gRPC (retry throttling): every request earns a part of a retry.
"""

from __future__ import annotations

RETRY_SHARE = 0.2
# What may be spent before anything was earned, and the most that is saved up.
FLOOR = 10.0
CEILING = 100.0


class RetryBudget:
    """Counts what this worker may still spend on retries."""

    def __init__(self) -> None:
        self._balance = FLOOR

    def earn(self) -> None:
        """A request came in."""
        self._balance = min(self._balance + RETRY_SHARE, CEILING)

    def spend(self) -> bool:
        """Take one retry; False when the budget is used up."""
        if self._balance < 1:
            return False
        self._balance -= 1
        return True
