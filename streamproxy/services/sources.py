"""Where a stream is read, and whose it is: the one place that tells a stranger's stream from none."""

from __future__ import annotations

from dataclasses import dataclass

from streamproxy.domain.ports import Ledger, StreamLog
from streamproxy.domain.streamlog import StreamHead, StreamState
from streamproxy.errors import GoneError, NotFoundError
from streamproxy.services.livestream import LiveStream
from streamproxy.services.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Source:
    """Where a stream is read: in memory while it runs here, else in the log."""

    head: StreamHead
    live: LiveStream | None


class Sources:
    """Finds streams for the users whose they are."""

    def __init__(self, *, recorder: Recorder, store: StreamLog, ledger: Ledger) -> None:
        self._recorder = recorder
        self._store = store
        self._ledger = ledger

    async def find(self, stream_id: str, user_id: str) -> Source:
        """The stream, if it is this user's. To everybody else it is as unknown as any: NotFoundError.

        GoneError when it was theirs and is no longer held. Both refusals take the same two look-ups, so that their
        time tells nobody whether there is such a stream.
        """
        live = self._recorder.find(stream_id)
        if live is not None and live.head.user_id == user_id:
            return Source(live.head, live)
        head = await self._store.head(stream_id)
        if head is not None and head.user_id == user_id:
            return Source(head, None)
        record = await self._ledger.usage_of(stream_id)
        if record is not None and record.user_id == user_id:
            raise _gone()
        raise NotFoundError("No such stream.", code="stream_not_found")

    async def is_over(self, source: Source) -> bool:
        """Whether the stream has its terminal event."""
        if source.live is not None:
            return source.live.ending is not None
        page = (await self._store.read([(source.head.stream_id, 0)]))[0]
        return page is None or page.state is not StreamState.RUNNING

    async def seen_all(self, source: Source, after: int) -> bool:
        """Whether the stream is over and *after* is its terminal event.

        GoneError when it is over and the log has lost all that came after.
        """
        if source.live is not None:
            return source.live.ending is not None and after >= source.live.last
        page = (await self._store.read([(source.head.stream_id, after)]))[0]
        if page is None:
            raise _gone()
        if page.state is StreamState.RUNNING:
            return False
        if page.last > after and not page.pieces:
            raise _gone()
        return page.last <= after


def _gone() -> GoneError:
    return GoneError("The events of this stream are no longer held; its receipt is.", code="stream_expired")
