"""Signing in with name and password, throttled by account and by address.

Only failures count. Each try takes its share of both limits before the password is looked at and gets it back
when it was right, so that tries at the same moment cannot outrun the limits. Tries of one account take turns
within a worker: a program that signs in thirty times at once with the right password is never refused.
While Redis is away it goes as with every limit (``limits.on_redis_down``).
"""

from __future__ import annotations

import asyncio
import hashlib
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from streamproxy.domain.limits import Ask, LimitPolicy
from streamproxy.domain.ports import User
from streamproxy.errors import AuthenticationError, RateLimitError
from streamproxy.services.admission import Admission
from streamproxy.services.auth import Authenticator


class SignIns:
    """Verifies passwords for the endpoints that strangers reach."""

    def __init__(
        self, auth: Authenticator, admission: Admission, *, by_account: LimitPolicy, by_address: LimitPolicy
    ) -> None:
        self._auth = auth
        self._admission = admission
        self._by_account = by_account
        self._by_address = by_address
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def verify(self, name: str, password: str, *, address: str, request_id: str) -> User:
        """The user called *name*, when that is the password.

        AuthenticationError otherwise, after the same time whether there is such a user or not; RateLimitError
        with ``retry_after`` after too many failures of this account, which need not exist, or from this address.
        """
        account = f"sign-in-account:{_digest(unicodedata.normalize('NFC', name))}"
        turn = self._turns.setdefault(account, asyncio.Lock())
        async with (
            self._counted(f"sign-in-address:{_digest(address)}", request_id, self._by_address),
            turn,
            self._counted(account, request_id, self._by_account),
        ):
            return await self._auth.verify_password(name, password)

    @asynccontextmanager
    async def _counted(self, scope: str, request_id: str, policy: LimitPolicy) -> AsyncIterator[None]:
        """Counts what runs inside if it ends with AuthenticationError."""
        admitted = await self._admission.reserve(Ask(scope, request_id, policy), at_least=0)
        if admitted.refusal is not None:
            raise RateLimitError(
                "Too many failed sign-ins; try again later.",
                code="too_many_sign_ins",
                retry_after=admitted.refusal.retry_after,
            )
        try:
            yield
        except AuthenticationError:
            await self._admission.settle(admitted.reservation, tokens=0)
            raise
        except BaseException:
            await self._admission.refund(admitted.reservation)
            raise
        await self._admission.refund(admitted.reservation)


def _digest(text: str) -> str:
    """*text* as it may stand in a Redis key: a stranger chose it, in any length."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
