"""A session that Redis lost, from the lasting history: its turns, as far as they followed each other in their time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby

import msgspec

from streamproxy.domain.ports import Ledger, SessionStore
from streamproxy.domain.sessions import EMPTY, SYSTEM_ROLES, Context, Message, SessionRef, Turn
from streamproxy.domain.streams import HistoryMessage
from streamproxy.errors import StoreUnavailableError

log = logging.getLogger(__name__)

# More history than this is never looked through for one session: the context is bounded anyway.
REBUILD_MESSAGES = 200


class SessionHistory:
    """*size* counts the tokens of a model's turn; *ttl* is a session's life in seconds, *clock* gives epoch seconds."""

    def __init__(
        self,
        ledger: Ledger,
        sessions: SessionStore,
        *,
        size: Callable[[str, Sequence[Message]], Awaitable[int]],
        ttl: float,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._size = size
        self._ttl = ttl
        self._clock = clock

    async def context(self, ref: SessionRef, model: str, *, put_back: bool) -> Context:
        """What the session was, empty where nothing is known of it.

        *put_back* only by who is inside and has found the session empty: behind a living one old turns would count
        as new.
        """
        try:
            history = await self._ledger.history(ref.principal_id, session_id=ref.session_id, limit=REBUILD_MESSAGES)
        except StoreUnavailableError:
            log.warning("a session starts empty: its history cannot be read")
            return EMPTY
        fresh = _within_ttl(history, self._clock(), self._ttl)
        if not fresh:
            return EMPTY
        messages = [msgspec.json.decode(row.message) for row in fresh]
        systems = [m for m in messages if m.get("role") in SYSTEM_ROLES]
        system = systems[-1] if systems else None
        turns = []
        for stream_id, rows in groupby(zip(fresh, messages, strict=True), key=lambda pair: pair[0].stream_id):
            said = tuple(m for _, m in rows if m.get("role") not in SYSTEM_ROLES)
            turns.append(Turn(stream_id, said, await self._size(model, said)))
        if put_back:
            await self._restore(ref, turns, system)
        return Context(system, tuple(turns))

    async def _restore(self, ref: SessionRef, turns: Sequence[Turn], system: Message | None) -> None:
        """Put rebuilt turns back, so that the next request finds them without SQL."""
        try:
            for turn in turns:
                await self._sessions.append(ref, turn, system)
        except StoreUnavailableError:
            log.debug("a rebuilt session is not put back: Redis is away")


def _within_ttl(history: Sequence[HistoryMessage], now: float, ttl: float) -> list[HistoryMessage]:
    """The newest rows whose turns followed each other within the time to live, oldest first."""
    kept: list[HistoryMessage] = []
    for row in reversed(history):
        if now - row.created > ttl:
            break
        kept.append(row)
        now = row.created
    return kept[::-1]
