"""Time limits of a running answer: between two events, and in all. One timer a stream, no task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streamproxy.errors import UpstreamTimeoutError
from streamproxy.services.calls import Timeouts


class Deadlines:
    """Starts running when made; calls *expired* once with the limit that passed."""

    def __init__(self, timeouts: Timeouts, expired: Callable[[UpstreamTimeoutError], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts
        self._expired = expired
        self._last = self._started = self._loop.time()
        self._timer = self._schedule()

    def touch(self) -> None:
        """An event came. Only a time stamp: the timer looks at it when it fires."""
        self._last = self._loop.time()

    def stop(self) -> None:
        self._timer.cancel()

    def _schedule(self) -> asyncio.TimerHandle:
        due = min(self._last + self._timeouts.idle, self._started + self._timeouts.total)
        return self._loop.call_at(due, self._check)

    def _check(self) -> None:
        now = self._loop.time()
        limits = self._timeouts
        if now >= self._started + limits.total:
            message = f"the answer took longer than {limits.total:g} s"
            self._expired(UpstreamTimeoutError(message, code="upstream_total_timeout"))
        elif now >= self._last + limits.idle:
            message = f"the upstream sent nothing for {limits.idle:g} s"
            self._expired(UpstreamTimeoutError(message, code="upstream_idle_timeout"))
        else:
            self._timer = self._schedule()
