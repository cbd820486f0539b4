"""Keeps alive what running streams hold in Redis: their places in the limits and in their sessions.

Both are leases, so that a killed worker frees them within seconds; a living one renews all of its own
every ``RENEW_SECONDS``, a few at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from streamproxy.domain.limits import Reservation
from streamproxy.domain.ports import SessionStore
from streamproxy.domain.sessions import Message, SessionRef, Turn
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.admission import Admission

log = logging.getLogger(__name__)

RENEW_SECONDS = 2.0
# Renewed in one round trip each. Of a thousand streams at once, all events would wait until a thousand commands were
# written, and then Redis would answer nobody until it had carried them out.
RENEWED_AT_ONCE = 32
# Sessions whose newest turns wait in this worker for Redis to come back.
MOST_UNSAID = 1000
# Of each, the newest. A context of more is cut anyway.
MOST_UNSAID_TURNS = 20


@dataclass(slots=True, eq=False)
class _Unsaid:
    """What one session has to be told yet, oldest first; *telling* is held by who does: once, and in order."""

    turns: deque[tuple[Turn, Message | None]] = field(default_factory=lambda: deque(maxlen=MOST_UNSAID_TURNS))
    telling: asyncio.Lock = field(default_factory=asyncio.Lock)


class LeaseKeeper:
    """All that this worker's running streams hold, by stream id. *unsaid* is what sessions have to be told yet."""

    def __init__(
        self,
        admission: Admission,
        sessions: SessionStore,
        *,
        rebuild: bool,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._rebuild = rebuild
        self._clock = clock
        self._admission = admission
        self._sessions = sessions
        self._held: dict[str, tuple[Reservation | None, SessionRef | None]] = {}
        self.unsaid: dict[SessionRef, _Unsaid] = {}

    def hold_place(self, stream_id: str, reservation: Reservation | None) -> None:
        if reservation is not None and reservation.ask.policy.streams:
            self._held[stream_id] = reservation, None

    def hold_turn(self, stream_id: str, session: SessionRef, reservation: Reservation | None) -> None:
        """The place in the session, and that in the limits with it."""
        if reservation is not None and not reservation.ask.policy.streams:
            reservation = None
        self._held[stream_id] = reservation, session

    def release(self, stream_id: str) -> None:
        self._held.pop(stream_id, None)

    def keep_turn(self, session: SessionRef, turn: Turn, system: Message | None) -> None:
        """A turn that Redis did not take: it is appended as soon as Redis is back. The oldest are forgotten first."""
        self.unsaid.setdefault(session, _Unsaid()).turns.append((turn, system))
        if len(self.unsaid) > MOST_UNSAID:
            del self.unsaid[next(iter(self.unsaid))]

    async def catch_up(self, session: SessionRef) -> None:
        """Append what the session missed while Redis was away; nothing happens while it still is.

        A session that Redis lost altogether is left to be rebuilt from the history, where these turns are too.
        """
        missed = self.unsaid.get(session)
        if missed is None:
            return
        try:
            async with missed.telling:
                await self._tell(session, missed.turns)
        except StoreUnavailableError:
            return
        if not missed.turns and self.unsaid.get(session) is missed:
            del self.unsaid[session]

    async def _tell(self, session: SessionRef, turns: deque[tuple[Turn, Message | None]]) -> None:
        if turns and self._rebuild and await self._sessions.read(session) is None:
            turns.clear()
        while turns:
            said = turns[0]
            await self._sessions.append(session, *said)
            # The oldest may have been let go meanwhile, for a newer one.
            if turns and turns[0] is said:
                turns.popleft()

    async def renew(self) -> None:
        """Renew everything once; a Redis that is away is tried again at the next round.

        What runs comes before what was missed: leases run out in seconds, and what was missed may be much.
        """
        began, running, late = self._clock(), list(self._held), 0
        while running:
            # Where there is too much to do, every round trip takes long: a lease that ran out is worse than a wait.
            count = RENEWED_AT_ONCE if self._clock() - began < RENEW_SECONDS / 2 else len(running)
            some, running = running[:count], running[count:]
            try:
                await self._renew(some)
            except StoreUnavailableError:
                # Of a cluster, a part may be away. Where all is, the others are told so at once.
                late += len(some)
        if late:
            log.debug("leases of %d streams not renewed: Redis is away", late)
            return
        began = self._clock()
        for session in list(self.unsaid):
            if self._clock() - began > RENEW_SECONDS / 2:
                return
            await self.catch_up(session)

    async def _renew(self, running: Sequence[str]) -> None:
        """Renew what these streams still hold: some have ended while others were renewed."""
        if places := [reservation for reservation, _ in self._still(running).values() if reservation is not None]:
            await self._admission.renew(places)
        if turns := [(ref, each) for each, (_, ref) in self._still(running).items() if ref is not None]:
            await self._sessions.renew(turns)

    def _still(self, running: Sequence[str]) -> dict[str, tuple[Reservation | None, SessionRef | None]]:
        return {each: self._held[each] for each in running if each in self._held}

    async def keep(self) -> None:
        """Run until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self.renew()
