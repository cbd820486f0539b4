"""Sessions and the order of their turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streamproxy.domain.sessions import Context, Message, SessionRef, Turn


class SessionStore(Protocol):
    """Keeps sessions and the order of their turns."""

    async def enter(self, ref: SessionRef, turn_id: str, wait_seconds: float) -> Context:
        """Wait for this turn's place in the session, first come first served, and load the context.

        SessionBusyError (with retry_after) when earlier turns take longer than *wait_seconds*.
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
