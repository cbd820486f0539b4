"""Principals that were recognised a moment ago, so that a busy caller does not cost a query a request."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from streamproxy.domain.identity import Principal

# 4,096 callers at once in one worker; some 500 bytes each.
MOST_PRINCIPALS = 4096


class PrincipalCache:
    """Remembers each for *seconds*, and no longer than its credential lives. *clock* gives epoch seconds.

    The key is a digest of the exact text, so no credential stays in memory, and of how it came. Only
    successes are kept: a stranger who guesses fills nothing.
    """

    def __init__(self, *, seconds: float, clock: Callable[[], float], most: int = MOST_PRINCIPALS) -> None:
        self._seconds = seconds
        self._clock = clock
        self._most = most
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._looking: dict[bytes, asyncio.Future[Principal]] = {}

    def get(self, kind: str, text: str) -> Principal | None:
        key = _digest(kind, text)
        if key not in self._known:
            return None
        until, principal = self._known[key]
        # A clock that was set back must not make an old answer live longer than its time.
        now = self._clock()
        return principal if until - self._seconds <= now < until else None

    async def found(self, kind: str, text: str, look_up: Callable[[], Awaitable[Principal]]) -> Principal:
        """What *look_up* finds: once for all who ask for the same at the same time. Its errors are theirs too."""
        key = _digest(kind, text)
        task = self._looking.get(key)
        if task is None:
            task = self._looking[key] = asyncio.ensure_future(look_up())
            task.add_done_callback(lambda done: self._looked(key, done))
        # Who leaves must not take the others' answer along.
        return await asyncio.shield(task)

    def _looked(self, key: bytes, task: asyncio.Future[Principal]) -> None:
        del self._looking[key]
        if not task.cancelled():
            task.exception()

    def put(self, kind: str, text: str, principal: Principal, *, expires: float = float("inf")) -> None:
        """*expires* is when the credential itself ends, epoch seconds."""
        until = min(self._clock() + self._seconds, expires)
        key = _digest(kind, text)
        self._known.pop(key, None)
        while len(self._known) >= self._most:
            # The one that was looked up in the store longest ago.
            del self._known[next(iter(self._known))]
        self._known[key] = (until, principal)

    def clear(self) -> None:
        self._known.clear()


def _digest(kind: str, text: str) -> bytes:
    return hashlib.sha256(f"{kind} {text}".encode("utf-8", "surrogatepass")).digest()
