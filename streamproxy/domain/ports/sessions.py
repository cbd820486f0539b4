"""Sessions and the order of their turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streamproxy.domain.limits import Ask, Decision, Reservation
from streamproxy.domain.sessions import NO_PLACE, Context, Message, Place, Queued, SessionRef, Turn


class SessionStore(Protocol):
    """Keeps sessions and the order of their turns."""

    async def enter(self, ref: SessionRef, turn_id: str, wait_seconds: float, *, place: Queued = NO_PLACE) -> Context:
        """Wait for this turn's place in the session, first come first served, and load the context.

        *place* is where it has been waiting already. SessionBusyError (with retry_after) when earlier turns take
        longer than *wait_seconds*.
        """

    async def append(self, ref: SessionRef, turn: Turn, system: Message | None) -> None:
        """Add the turn, renew the time to live and let the next turn in. Once per ``turn.id``."""

    async def leave(self, ref: SessionRef, turn_id: str) -> None:
        """The turn produced nothing: let the next one in, leave no trace."""

    async def renew(self, held: Sequence[tuple[SessionRef, str]]) -> None:
        """Prolong these places (session, turn id)."""

    async def read(self, ref: SessionRef) -> Context | None:
        """The context as it stands, without entering; None when there is none (or it expired)."""

    async def rewind(self, ref: SessionRef, turn_id: str) -> bool:
        """Drop this turn and those after it; False when the context has no such turn."""

    async def forget(self, ref: SessionRef) -> bool:
        """Drop the context; False when there was none."""


class Turnstile(Protocol):
    """A turn's way in, through its limits and into its session, and its way out: one step each, where that can be."""

    async def enter(self, ask: Ask, ref: SessionRef, turn_id: str) -> tuple[Decision, Place]:
        """As ``LimitStore.reserve``, and where that admits, the turn's place in its session, at once or in the queue.

        However this ends, refusals excepted, the turn may be there: it has to be left or appended.
        """

    async def leave(
        self, reservation: Reservation, tokens: int, ref: SessionRef, turn: Turn, system: Message | None
    ) -> None:
        """``LimitStore.settle`` and ``SessionStore.append``."""
