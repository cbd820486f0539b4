"""A circuit breaker: nobody waits for a server that is away.

Closed → (3 failures in a row, or one call that met nothing but silence) → open for 0.1 s → half open: one probe may
pass; its end decides. Each time it opens again, for a bad probe or soon after a good one, it is open for twice as long,
up to 1 s.

Why not 1 s at once: most silences are hiccups of a quarter of a second (a fork for a snapshot, a machine that moves),
and what they break off must not be a second of refusals. Where it lasts, the first second costs three probes more.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
# Whoever was well for so long begins anew; a server that answers now and then does not.
CALM_SECONDS = 10.0


class Breaker:
    """Says whether a call may be tried. *clock* is monotonic seconds.

    *failures* since the last answer. While there are none every call may be tried, and an answer need not be reported.
    """

    def __init__(self, *, clock: Callable[[], float], failures: int = 3) -> None:
        self._clock = clock
        self._allowed_failures = failures
        self.failures = 0
        self._opened_at: float | None = None
        self._closed_at = float("-inf")
        self._pause = FIRST_PAUSE
        self._probing = False

    @property
    def closed(self) -> bool:
        """True while calls pass freely; half open is not closed."""
        return self._opened_at is None

    def admit(self) -> bool:
        """Whether this call may be tried. An admitted call must report how it ended."""
        if self._opened_at is None:
            return True
        if self._probing or self._clock() - self._opened_at < self._pause:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        if self._opened_at is not None:
            self._closed_at = self._clock()
        self.failures = 0
        self._opened_at = None
        self._probing = False

    def failed(self, *, silent: bool = False) -> None:
        """*silent*: the server answered nobody while this call waited, so that the next would wait in vain too."""
        self.failures += self._allowed_failures if silent else 1
        if self.failures >= self._allowed_failures:
            self._open()
        self._probing = False

    def _open(self) -> None:
        now = self._clock()
        if self._probing or (self.closed and now - self._closed_at < CALM_SECONDS):
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        elif self.closed:
            self._pause = FIRST_PAUSE
        self._opened_at = now

    def abandoned(self) -> None:
        """The caller gave up before there was an answer: nothing was learned, the next call may probe."""
        self._probing = False
