"""Puts in order what a dead worker left of its resumable streams: their ending, usage, session and history.

Every worker looks; the log lets one at a time do it. Should that one die as well, another does it after a while: what
was settled twice counts once, by its stream id.
"""

from __future__ import annotations

import asyncio
import logging

from streamproxy.domain.ports import Ledger, StreamLog
from streamproxy.domain.streamlog import StreamHead
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.chat import ChatService
from streamproxy.services.readers import lost

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
OWNER_LOST = "owner_lost"


class Janitor:
    """One worker's part in that."""

    def __init__(self, chat: ChatService, *, store: StreamLog, ledger: Ledger) -> None:
        self._chat = chat
        self._store = store
        self._ledger = ledger

    async def bury(self, stream_id: str) -> None:
        """End a dead owner's stream for its readers; it is settled at the next look round."""
        await self._store.reap(stream_id, lost(OWNER_LOST))

    async def look(self) -> None:
        """Look round until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                for stream_id in await self._store.overdue():
                    await self._tidy(stream_id)
            except StoreUnavailableError:
                log.debug("dead streams wait: a store is away")
            except Exception:
                # One that cannot be settled must not keep the others waiting for ever.
                log.exception("a dead stream could not be settled")

    async def _tidy(self, stream_id: str) -> None:
        if not await self._store.inherit(stream_id, lost(OWNER_LOST)):
            return
        head = await self._store.head(stream_id)
        if head is not None and await self._ledger.usage_of(stream_id) is None:
            log.warning("stream %s: its worker is gone", stream_id)
            await self._settle(head)
        await self._store.forget_running(stream_id)

    async def _settle(self, head: StreamHead) -> None:
        payloads: list[bytes] = []
        position = 0
        while True:
            page = (await self._store.read([(head.stream_id, position)]))[0]
            if page is None or not page.pieces:
                break
            for piece in page.pieces:
                payloads += piece.payloads
            position = page.pieces[-1].last
        await self._chat.settle_lost(head, payloads)
