"""Sessions as their owners see them: read, and forgotten for good."""

from __future__ import annotations

from streamproxy.domain.ports import Ledger, SessionStore
from streamproxy.domain.sessions import Context, SessionRef


class Sessions:
    """What the handlers ask of sessions outside a turn."""

    def __init__(self, store: SessionStore, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    async def read(self, ref: SessionRef) -> Context | None:
        """The context as it stands, None when there is none."""
        return await self._store.read(ref)

    async def forget(self, ref: SessionRef) -> bool:
        """Drop the context, so that it is not rebuilt from the history either. False when there was none."""
        forgotten = await self._store.forget(ref)
        # The history stays, as messages of no session.
        detached = await self._ledger.detach(ref.principal_id, ref.session_id)
        return forgotten or detached > 0
