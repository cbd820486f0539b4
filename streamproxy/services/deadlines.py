"""Time limits of a call to an upstream, each named by its error's code.

``upstream_connect_timeout`` (the transport's own) and, here, ``upstream_first_event_timeout`` from the request to
the first event, ``upstream_idle_timeout`` between two events, ``upstream_total_timeout`` in all. Only payload
counts as an event: comments and blank lines, with which a dead model's gateway keeps a connection open, do not.
A whole answer has no first event: its head comes when the model is done, so that the total limit waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from streamproxy.errors import UpstreamTimeoutError


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. *first_event* runs from the request to the first event, *idle* between two events."""

    first_event: float
    idle: float
    total: float

    def until_first_event(self) -> AbstractAsyncContextManager[None]:
        """UpstreamTimeoutError when what is inside takes longer than a stream may take to begin."""
        if self.total < self.first_event:
            return self.until_the_end()
        return at_most(self.first_event, first_event_error)

    def until_the_end(self) -> AbstractAsyncContextManager[None]:
        """UpstreamTimeoutError when what is inside takes longer than an answer may take in all."""
        return at_most(self.total, total_error)


def first_event_error(seconds: float) -> UpstreamTimeoutError:
    return UpstreamTimeoutError(f"the upstream sent no event within {seconds:g} s", code="upstream_first_event_timeout")


def idle_error(seconds: float) -> UpstreamTimeoutError:
    return UpstreamTimeoutError(f"the upstream sent nothing for {seconds:g} s", code="upstream_idle_timeout")


def total_error(seconds: float) -> UpstreamTimeoutError:
    return UpstreamTimeoutError(f"the answer took longer than {seconds:g} s", code="upstream_total_timeout")


@asynccontextmanager
async def at_most(seconds: float, error: Callable[[float], UpstreamTimeoutError]) -> AsyncIterator[None]:
    """Raise ``error(seconds)`` when what is inside takes longer."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as exc:
        if limit.expired():
            raise error(seconds) from exc
        raise


class Deadlines:
    """The limits of a running answer: one timer a stream, no task. Calls *expired* once with the limit that passed.

    Runs when made; *started* is the loop's time at which the upstream was asked.
    """

    def __init__(self, timeouts: Timeouts, expired: Callable[[UpstreamTimeoutError], None], *, started: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts
        self._expired = expired
        self._started = started
        self._last: float | None = self._loop.time()
        self._timer = self._schedule()

    def touch(self) -> None:
        """An event came, or the client took one. Only a time stamp: the timer looks at it when it fires."""
        self._last = self._loop.time()

    def pause(self) -> None:
        """It is the client who is slow: until the next ``touch`` nobody waits for the upstream."""
        self._last = None

    def stop(self) -> None:
        self._timer.cancel()

    def _schedule(self) -> asyncio.TimerHandle:
        since = self._loop.time() if self._last is None else self._last
        due = min(since + self._timeouts.idle, self._started + self._timeouts.total)
        return self._loop.call_at(due, self._check)

    def _check(self) -> None:
        now = self._loop.time()
        limits = self._timeouts
        if now >= self._started + limits.total:
            self._expired(total_error(limits.total))
        elif self._last is not None and now >= self._last + limits.idle:
            self._expired(idle_error(limits.idle))
        else:
            self._timer = self._schedule()
