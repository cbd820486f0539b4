"""Sessions as their owners see them: read, and forgotten for good."""

from __future__ import annotations

from streamproxy.domain.ports import Conversations, Ledger, SessionStore
from streamproxy.domain.sessions import Context, SessionRef


class Sessions:
    """What the handlers ask of sessions outside a turn."""

    def __init__(self, store: SessionStore, ledger: Ledger, conversations: Conversations) -> None:
        self._store = store
        self._ledger = ledger
        self._conversations = conversations

    async def read(self, ref: SessionRef) -> Context | None:
        """The context as it stands, None when there is none."""
        return await self._store.read(ref)

    async def forget(self, ref: SessionRef) -> bool:
        """Drop the context, so that it is not rebuilt from the history either. False when there was none."""
        forgotten = await self._store.forget(ref)
        # The history stays, as messages of no session.
        detached = await self._ledger.detach(ref.principal_id, ref.session_id)
        return forgotten or detached > 0

    async def rewind(self, ref: SessionRef, stream_id: str) -> bool:
        """Take back the turn of this stream and all after it: the next question follows the turn before it.

        They stay in the history, as messages of no session. False when the session has no such turn.
        """
        forgotten = await self._store.rewind(ref, stream_id)
        detached = await self._conversations.rewind(ref.principal_id, ref.session_id, stream_id)
        return forgotten or detached > 0
