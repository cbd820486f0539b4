"""Time limits of a call to an upstream, each named by its error's code.

``upstream_connect_timeout`` (the transport's own) and, here, ``upstream_first_event_timeout`` from the request to
the first event, ``upstream_idle_timeout`` between two events, ``upstream_total_timeout`` in all. Only payload
counts as an event: comments and blank lines, with which a dead model's gateway keeps a connection open, do not.
A whole answer has no first event: its head comes when the model is done, so that the total limit waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

from streamproxy.errors import UpstreamTimeoutError


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. *first_event* runs from the request to the first event, *idle* between two events."""

    first_event: float
    idle: float
    total: float
    # What they make raises UpstreamTimeoutError when what is inside takes longer than a stream may take to begin, or an
    # answer in all. They may be told the task that runs it. Made once: every call to an upstream has one.
    until_first_event: partial[AtMost] = field(init=False, repr=False, compare=False)
    until_the_end: partial[AtMost] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        in_all = partial(AtMost, self.total, total_error)
        to_begin = partial(AtMost, self.first_event, first_event_error)
        object.__setattr__(self, "until_the_end", in_all)
        object.__setattr__(self, "until_first_event", in_all if self.total < self.first_event else to_begin)


def first_event_error(seconds: float) -> UpstreamTimeoutError:
    return UpstreamTimeoutError(f"the upstream sent no event within {seconds:g} s", code="upstream_first_event_timeout")


def idle_error(seconds: float) -> UpstreamTimeoutError:
    return UpstreamTimeoutError(f"the upstream sent nothing for {seconds:g} s", code="upstream_idle_timeout")


def total_error(seconds: float) -> UpstreamTimeoutError:
    return UpstreamTimeoutError(f"the answer took longer than {seconds:g} s", code="upstream_total_timeout")


class AtMost:
    """``async with``: raises ``error(seconds)`` when what is inside takes longer. It is entered once, when it is made.

    *task* runs what is inside: who knows it need not have it looked for. It does what ``asyncio.Timeout`` does, which
    makes twice the calls of it.
    """

    __slots__ = (
        *("_cancelling", "_error", "_idle", "_late", "_seconds", "_task"),
        *("began", "end", "left", "loop", "then", "timer"),
    )

    timer: asyncio.TimerHandle

    def __init__(
        self,
        seconds: float,
        error: Callable[[float], UpstreamTimeoutError],
        task: asyncio.Task[object] | None = None,
    ) -> None:
        task = task or asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be held to a time limit")
        self._task = task
        # How often others have cancelled it: they want it cancelled.
        self._cancelling = task.cancelling()
        self._seconds = seconds
        self._error = error
        # The silence that would be too long now; None where the end comes first.
        self._idle: float | None = None
        self.loop = task.get_loop()
        # By the loop's clock.
        self.began = self.loop.time()
        self.end = self.began + seconds
        self._late = False
        # Set where what is inside is done but for its return: the timer runs on for who takes it over and is called
        # by it ``then``; alone it does nothing.
        self.left = False
        self.then: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        self.timer = self.loop.call_at(self.end, self._expire)
        return self

    def _expire(self) -> None:
        if self.then is not None:
            self.then()
        elif not self.left:
            self._late = True
            self._task.cancel()

    def heard(self, idle: float) -> None:
        """Something came: *idle* seconds of silence from now on are too long as well."""
        if self._late:
            return
        silent = self.loop.time() + idle
        self._idle = idle if silent < self.end else None
        self.timer.cancel()
        self.timer = self.loop.call_at(min(silent, self.end), self._expire)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.left and not self._late:
            del self._task  # which may be over long before the answer is forgotten
            return
        self.timer.cancel()
        if self._late and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise (self._error(self._seconds) if self._idle is None else idle_error(self._idle)) from error


class Deadlines:
    """The limits of a running answer: one timer a stream, no task. Calls *expired* once with the limit that passed.

    Runs when made; *started* is the loop's time at which the upstream was asked. *after* is the limit of what came
    before, which was left: its timer goes on, because to set and to cancel one costs some microseconds.
    """

    __slots__ = ("_expired", "_started", "_timeouts", "_timer", "last", "loop")

    def __init__(
        self,
        timeouts: Timeouts,
        expired: Callable[[UpstreamTimeoutError], None],
        *,
        started: float,
        after: AtMost | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop() if after is None else after.loop
        self._timeouts = timeouts
        self._expired = expired
        self._started = started
        now = self.loop.time()
        self.last: float | None = now
        if after is not None and after.end <= now + timeouts.idle:
            # It comes too early, if anything: then it is set anew. The total limit never ends before a beginning's.
            after.then, self._timer = self._check, after.timer
            return
        if after is not None:
            after.timer.cancel()
        self._timer = self._schedule()

    def touch(self) -> None:
        """An event came, or the client took one. Only a time stamp: the timer looks at it when it fires."""
        self.last = self.loop.time()

    def pause(self) -> None:
        """It is the client who is slow: until the next ``touch`` nobody waits for the upstream."""
        self.last = None

    def stop(self) -> None:
        self._timer.cancel()

    def _schedule(self) -> asyncio.TimerHandle:
        since = self.loop.time() if self.last is None else self.last
        silent, over = since + self._timeouts.idle, self._started + self._timeouts.total
        return self.loop.call_at(silent if silent < over else over, self._check)

    def _check(self) -> None:
        now = self.loop.time()
        limits = self._timeouts
        if now >= self._started + limits.total:
            self._expired(total_error(limits.total))
        elif self.last is not None and now >= self.last + limits.idle:
            self._expired(idle_error(limits.idle))
        else:
            self._timer = self._schedule()
