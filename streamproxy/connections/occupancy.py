"""Which connections have a request under way and which wait for one, and how a server is left without cutting any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

# While draining: just above nginx's keepalive_timeout, so that it is nginx who closes what it does not use.
LINGER_SECONDS = 6.0
LOOK_SECONDS = 0.1
# For connections just accepted, whose request is on its way.
ARRIVING_SECONDS = 1.0

C = TypeVar("C", bound=Hashable)


class Occupancy(Generic[C]):
    """The connections of one server; *close* closes an idle one, *left* is called when one is gone."""

    def __init__(self, close: Callable[[C], None], *, left: Callable[[], None] = lambda: None) -> None:
        self._close = close
        self._left = left
        # Each open connection; since when it waits for a request, None while one is under way.
        self._idle_since: dict[C, float | None] = {}
        self._busy = 0
        # Of whoever waits until none is busy, and until there is none.
        self._idle: asyncio.Event | None = None
        self._empty: asyncio.Event | None = None

    def begin(self, connection: C) -> None:
        """A request has come, where none was under way; it means nothing for a connection that is gone."""
        if connection in self._idle_since and self._idle_since[connection] is not None:
            self._idle_since[connection] = None
            self._busy += 1

    def rest(self, connection: C, now: float) -> None:
        """It is new, or its request is over."""
        if connection in self._idle_since and self._idle_since[connection] is None:
            self._busy -= 1
        self._idle_since[connection] = now
        if self._idle is not None and not self._busy:
            self._idle.set()

    def forget(self, connection: C) -> None:
        """It is closed."""
        if self._idle_since.pop(connection, 0.0) is None:
            self._busy -= 1
        if self._idle is not None and not self._busy:
            self._idle.set()
        if self._empty is not None and not self._idle_since:
            self._empty.set()
        self._left()

    @property
    def count(self) -> int:
        """Open connections."""
        return len(self._idle_since)

    @property
    def busy(self) -> int:
        """Connections with a request under way."""
        return self._busy

    @property
    def all(self) -> list[C]:
        """Every open connection."""
        return [*self._idle_since]

    async def drain(self, *, grace: float, hurry: asyncio.Event) -> bool:
        """Let running requests end for *grace* seconds or until *hurry*; True when all did. Accept no more before.

        The second of waiting is for connections just accepted: without it a rolling restart cut one to five clients.
        Kept connections are answered once more and then closed, or closed when they have been idle for longer than
        nginx keeps them: nobody sends a question on one that is just being closed.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + grace
        waiting = asyncio.create_task(hurry.wait())
        await asyncio.wait({waiting}, timeout=min(ARRIVING_SECONDS, grace))
        while self._close_idle(clock()) and clock() < deadline and not hurry.is_set():
            await asyncio.wait({waiting}, timeout=min(LOOK_SECONDS, deadline - clock()))
        waiting.cancel()
        return not self._busy

    def _close_idle(self, now: float) -> bool:
        """Close the connections that have been idle for LINGER_SECONDS; whether others are left."""
        for connection, since in [*self._idle_since.items()]:
            if since is not None and now - since >= LINGER_SECONDS:
                self._close(connection)
        return bool(self._idle_since)

    async def wait_until_idle(self) -> None:
        """Return when no request is under way any more."""
        if self._busy:
            self._idle = self._idle or asyncio.Event()
            self._idle.clear()
            await self._idle.wait()

    async def wait_until_empty(self) -> None:
        """Return when every connection is closed."""
        if self._idle_since:
            self._empty = self._empty or asyncio.Event()
            self._empty.clear()
            await self._empty.wait()
