"""Passwords: argon2id, in threads of their own.

One hash costs much on purpose (COSTS), so a bounded number runs at once and a bounded number waits; beyond that
RateLimitError, because a flood of logins must not take the memory or the CPU that running streams need.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import unicodedata
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from streamproxy.errors import BadRequestError, RateLimitError

# By the setting auth.password_cost. RFC 9106, section 4, second recommended option: 3 passes over 64 MiB, 4 lanes.
# OWASP's Password Storage Cheat Sheet, for machines that have not got so much: 2 passes over 19 MiB, 1 lane.
COSTS: Mapping[str, Parameters] = {
    "rfc9106": RFC_9106_LOW_MEMORY,
    "owasp": replace(RFC_9106_LOW_MEMORY, time_cost=2, memory_cost=19 * 1024, parallelism=1),
}
# Two at once take 128 MiB; 64 waiting are about two seconds of work.
THREADS = 2
MOST_WAITING = 64
LONGEST_PASSWORD = 1024

_Result = TypeVar("_Result")


class Passwords:
    """Hashes and verifies off the loop. *hasher* holds argon2's costs."""

    def __init__(self, hasher: PasswordHasher, *, threads: int = THREADS) -> None:
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._most = threads + MOST_WAITING
        self._running = 0

    @classmethod
    def of(cls, cost: str) -> Passwords:
        """Hashes at the *cost* of this name in COSTS."""
        return cls(PasswordHasher.from_parameters(COSTS[cost]))

    async def hash(self, password: str) -> str:
        """The hash to keep. BadRequestError when *password* is none that we take."""
        if (normal := _normal(password)) is None:
            raise BadRequestError(f"password must be 1 to {LONGEST_PASSWORD} characters", param="password")
        return await self._in_thread(lambda: self._hasher.hash(normal))

    async def verify(self, kept: str | None, password: str) -> bool:
        """Whether *password* made the hash *kept*. None costs as much and is never right, so that the
        time taken does not tell which accounts exist."""
        normal = _normal(password)
        if normal is None:
            return False
        return await self._in_thread(lambda: self._matches(kept, normal)) and kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether *kept* was made with other costs than today's."""
        return self._hasher.check_needs_rehash(kept)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _matches(self, kept: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(kept or self._nobodys_hash(), password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    def _nobodys_hash(self) -> str:
        """A well-formed hash of today's costs that no password is known to make."""
        hasher = self._hasher
        costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
        return f"$argon2id$v=19${costs}${_random(hasher.salt_len)}${_random(hasher.hash_len)}"

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        if self._running >= self._most:
            raise RateLimitError("Too many sign-ins at once; try again in a moment.", retry_after=1.0)
        self._running += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # Counted until the thread is through with it: who stops waiting does not stop the work.
        future.add_done_callback(self._finished)
        return await asyncio.shield(future)

    def _finished(self, _: object) -> None:
        self._running -= 1


def _normal(password: str) -> str | None:
    """*password* as NIST SP 800-63B (3.1.1.2) compares it, in Unicode's NFKC form; None when it is no password."""
    if not 1 <= len(password) <= LONGEST_PASSWORD or not _encodable(password):
        return None
    return unicodedata.normalize("NFKC", password)


def _encodable(text: str) -> bool:
    """JSON can carry lone surrogates, which have no UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _random(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()
