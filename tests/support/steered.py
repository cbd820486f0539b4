"""A loop whose time a test moves."""

from __future__ import annotations

import asyncio


class SteeredLoop(asyncio.SelectorEventLoop):
    """Its time stands still until it is moved."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        """Let *seconds* pass, and everything happen that is due by then."""
        self.now += seconds
        self.run_until_complete(asyncio.sleep(0))
        self.run_until_complete(asyncio.sleep(0))
