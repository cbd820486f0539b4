"""A circuit breaker: nobody waits for a server that is away.

Closed → (3 failures in a row, or one call that met nothing but silence) → open for 1 s → half open: one probe may
pass; its end decides.
"""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """Says whether a call may be tried. *clock* is monotonic seconds."""

    def __init__(self, *, clock: Callable[[], float], failures: int = 3, open_seconds: float = 1.0) -> None:
        self._clock = clock
        self._allowed_failures = failures
        self._open_seconds = open_seconds
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def closed(self) -> bool:
        """True while calls pass freely; half open is not closed."""
        return self._opened_at is None

    @property
    def untroubled(self) -> bool:
        """True while the last call that ended was answered."""
        return not self._failures

    def admit(self) -> bool:
        """Whether this call may be tried. An admitted call must report how it ended."""
        if self._opened_at is None:
            return True
        if self._probing or self._clock() - self._opened_at < self._open_seconds:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._opened_at = None
        self._probing = False

    def failed(self, *, silent: bool = False) -> None:
        """*silent*: the server answered nobody while this call waited, so that the next would wait in vain too."""
        self._failures += self._allowed_failures if silent else 1
        self._probing = False
        if self._failures >= self._allowed_failures:
            self._opened_at = self._clock()

    def abandoned(self) -> None:
        """The caller gave up before there was an answer: nothing was learned, the next call may probe."""
        self._probing = False
