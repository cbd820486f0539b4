"""What one provider key may be used for: its windows and its running places, counted over all workers.

The counting is that of the clients' limits, under the key's own scope, with the same behaviour when Redis is
away. Nobody asks for a key without limits.
"""

from __future__ import annotations

import msgspec

from streamproxy.domain.keypool import Key
from streamproxy.domain.limits import Ask, Reservation
from streamproxy.services.admission import Admission
from streamproxy.services.leases import LeaseKeeper


class Room(msgspec.Struct, frozen=True):
    """What a key had room for: a reservation, or the seconds until it may have."""

    reservation: Reservation | None = None
    full_for: float = 0.0


class KeyLimits:
    """Reserves a key's share before a call and settles it after."""

    def __init__(self, admission: Admission, leases: LeaseKeeper) -> None:
        self._admission = admission
        self._leases = leases

    async def take(self, lease_id: str, key: Key, *, tokens: int) -> Room:
        """Take one request, *tokens* tokens and a running place of *key*, or nothing at all."""
        ask = Ask(f"key:{key.id}", lease_id, key.limits, tokens if key.limits.tokens else 0)
        admitted = await self._admission.reserve(ask, at_least=ask.tokens)
        if admitted.refusal is not None:
            return Room(full_for=admitted.refusal.retry_after or 1.0)
        self._leases.hold_place(lease_id, admitted.reservation)
        return Room(admitted.reservation)

    async def give_back(self, lease_id: str, reservation: Reservation, *, tokens: int, refund: bool) -> None:
        """Correct what was taken to *tokens*, or give all of it back where nothing reached the provider.

        A call that the provider refused has been counted there, and so it is here:
        https://platform.openai.com/docs/guides/rate-limits ("unsuccessful requests contribute").
        """
        self._leases.release(lease_id)
        if refund:
            await self._admission.refund(reservation)
        else:
            await self._admission.settle(reservation, tokens=tokens)
