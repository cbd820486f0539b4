"""Keeps alive what running streams hold in Redis: their places in the limits and in their sessions.

Both are leases, so that a killed worker frees them within seconds; a living one renews all of its own
in two calls every ``RENEW_SECONDS``.
"""

from __future__ import annotations

import asyncio
import logging

from streamproxy.domain.limits import Reservation
from streamproxy.domain.ports import SessionStore
from streamproxy.domain.sessions import SessionRef
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.admission import Admission

log = logging.getLogger(__name__)

RENEW_SECONDS = 2.0


class LeaseKeeper:
    """All that this worker's running streams hold, by stream id."""

    def __init__(self, admission: Admission, sessions: SessionStore) -> None:
        self._admission = admission
        self._sessions = sessions
        self._reservations: dict[str, Reservation] = {}
        self._turns: dict[str, SessionRef] = {}

    def hold_place(self, stream_id: str, reservation: Reservation | None) -> None:
        if reservation is not None and reservation.ask.policy.streams:
            self._reservations[stream_id] = reservation

    def hold_turn(self, stream_id: str, session: SessionRef) -> None:
        self._turns[stream_id] = session

    def release(self, stream_id: str) -> None:
        self._reservations.pop(stream_id, None)
        self._turns.pop(stream_id, None)

    async def renew(self) -> None:
        """Renew everything once; a Redis that is away is tried again at the next round."""
        try:
            if self._reservations:
                await self._admission.renew(list(self._reservations.values()))
            if self._turns:
                await self._sessions.renew([(ref, stream_id) for stream_id, ref in self._turns.items()])
        except StoreUnavailableError:
            log.debug("leases not renewed: Redis is away")

    async def keep(self) -> None:
        """Run until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self.renew()
