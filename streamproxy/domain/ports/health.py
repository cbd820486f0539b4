"""What readiness depends on."""

from __future__ import annotations

from typing import Protocol


class Pingable(Protocol):
    """Something readiness depends on."""

    async def ping(self) -> None:
        """Return when it answers; StoreUnavailableError otherwise."""
