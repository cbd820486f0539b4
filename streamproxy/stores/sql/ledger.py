"""The ledger in SQL: usage and history, written in group commit.

``write`` enqueues and waits. One task per worker commits all that has piled up while the last commit
ran: an idle ledger commits at once, a busy one a batch at a time, and SQLite never sees two writers of
one process.

While the database is locked, full or away, writes wait and are tried again with growing pauses. Nothing
is lost that was acknowledged; what was not is in memory, bounded in entries and bytes, and beyond that
``write`` raises StoreUnavailableError. A row that the database refuses for its own sake fails alone.
Each entry is idempotent by its stream id, so a commit whose answer was lost is simply repeated.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter

from streamproxy.domain.ports import UsageSummary
from streamproxy.domain.streams import HistoryMessage, UsageRecord
from streamproxy.errors import StoreUnavailableError
from streamproxy.stores.sql import records
from streamproxy.stores.sql.backlog import Backlog, Entry
from streamproxy.stores.sql.connect import Database

logger = logging.getLogger(__name__)

# One transaction: large enough that the commit's own cost is gone, small enough to hold SQLite's only
# write lock for some ten milliseconds.
BATCH = 200
# A commit costs as much as thirty rows. Who writes again so soon after the last one is joined by others.
BUSY_SECONDS = 0.1
GATHER_SECONDS = 0.05
# Bounds of what waits in one worker while the database is away: at 10 streams a second, a quarter of an hour.
MAX_ENTRIES = 10_000
MAX_BYTES = 64 * 1024 * 1024
# What an entry takes besides its messages.
ROW_BYTES = 1024
_TEXT: Callable[[HistoryMessage], str] = attrgetter("message")
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0


class SqlLedger:
    """Fills ``domain.ports.Ledger``. ``start`` it in the loop it serves, ``close`` it in the same."""

    def __init__(
        self,
        database: Database,
        *,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._backlog = Backlog(max_entries=max_entries, max_bytes=max_bytes)
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Entries not yet committed: a gauge that grows when the database is in trouble."""
        return len(self._backlog)

    async def start(self) -> None:
        self._backlog.open()
        self._task = asyncio.create_task(self._commit_all(), name="ledger")

    async def close(self, within: float = 5.0) -> None:
        """Write what waits, for at most *within* seconds; the rest fails and is counted in the log."""
        self._backlog.close()
        if self._task is None:
            return
        await asyncio.wait({self._task}, timeout=within)
        self._task.cancel()
        await asyncio.wait({self._task})
        self._task = None
        if lost := self._backlog.all():
            self._settle(lost, StoreUnavailableError("The ledger was closed before the database answered."))
            logger.error("%d streams were not written to the ledger: the database did not answer", len(lost))

    def enter(
        self, record: UsageRecord, history: Sequence[HistoryMessage], tell: Callable[[Exception | None], None]
    ) -> None:
        """Both are to be written in one transaction, once per ``stream_id``.

        StoreUnavailableError when the backlog is full or the ledger closed. *tell* is called once, later: with None
        when they are committed, with BadRequestError or ConflictError when the database refuses these very rows, with
        StoreUnavailableError when the ledger was closed before.
        """
        row, said = records.rows_of(record, history)
        # Messages are all that can be large.
        size = ROW_BYTES + sum(map(len, map(_TEXT, history)))
        self._backlog.put(Entry(record.stream_id, row, said, tell, size))

    async def write(self, record: UsageRecord, history: Sequence[HistoryMessage]) -> None:
        """``enter``, and wait until it is done. Cancelling the caller does not withdraw the rows."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def tell(fault: Exception | None) -> None:
            # Whoever was cancelled does not wait any more.
            if written.done():
                return
            if fault is None:
                written.set_result(None)
            else:
                written.set_exception(fault)

        self.enter(record, history, tell)
        await written

    async def history(
        self, user_id: str, *, session_id: str | None = None, limit: int = 200
    ) -> Sequence[HistoryMessage]:
        """The newest *limit* messages of the user (of one session when given), oldest first."""
        if session_id is not None:
            asked = {"user_id": user_id, "session_id": session_id, "limit": limit}
            return records.session_messages(await self._database.look_up(records.OF_SESSION, **asked))
        async with self._database.read() as connection:
            return await records.read_history(connection, user_id, limit=limit)

    async def usage_by_day(self, user_id: str, *, since: float, until: float = math.inf) -> Sequence[UsageSummary]:
        """One summary a UTC day and model, by day, of streams that began from *since* to before *until* (epoch)."""
        async with self._database.read() as connection:
            return await records.read_usage(connection, user_id, since=since, until=until)

    async def usage_of(self, stream_id: str) -> UsageRecord | None:
        async with self._database.read() as connection:
            return await records.read_record(connection, stream_id)

    async def detach(self, user_id: str, session_id: str) -> int:
        async with self._database.write() as connection:
            return await records.detach_session(connection, user_id, session_id)

    async def remarks(self, user_id: str, *, limit: int) -> Sequence[HistoryMessage]:
        """The newest *limit* questions and answers of the user, oldest first."""
        async with self._database.read() as connection:
            return await records.read_history(connection, user_id, roles=records.REMARK_ROLES, limit=limit)

    async def accepted(self, user_id: str, endpoints: Sequence[str], *, since: float, until: float) -> int:
        """Requests at *endpoints* that counted against limits, begun from *since* to before *until* (epoch seconds)."""
        async with self._database.read() as connection:
            return await records.count_accepted(connection, user_id, endpoints, since=since, until=until)

    async def calls(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        """Answered calls by key id; a key that never answered is missing."""
        async with self._database.read() as connection:
            return await records.read_calls(connection, key_ids)

    async def _commit_all(self) -> None:
        loop = asyncio.get_running_loop()
        committed = float("-inf")
        while batch := await self._backlog.next_batch(BATCH):
            if len(batch) < BATCH and loop.time() - committed < BUSY_SECONDS:
                await asyncio.sleep(GATHER_SECONDS)
                batch = await self._backlog.next_batch(BATCH)
            await self._commit(batch)
            committed = loop.time()

    async def _commit(self, batch: Sequence[Entry]) -> None:
        """Commit *batch*, however long it takes; halve it until the rows the database refuses stand alone."""
        try:
            await self._insist(batch)
        except Exception as exc:  # noqa: BLE001
            # Even a defect of ours fails its own rows only, never the task that writes everybody's.
            if len(batch) == 1:
                self._settle(batch, exc)
                logger.warning("the ledger refused stream %s: %s", batch[0].stream_id, type(exc).__name__)
                return
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
        else:
            self._settle(batch)

    def _settle(self, batch: Sequence[Entry], fault: Exception | None = None) -> None:
        """The oldest that wait, *batch*, are committed, or refused for this *fault*: nobody is told twice."""
        self._backlog.drop(batch)
        for entry in batch:
            # The defect of one costs neither the others nor the ledger's task.
            try:
                entry.tell(fault)
            except Exception:
                logger.exception("stream %s could not be told what became of it", entry.stream_id)

    async def _insist(self, batch: Sequence[Entry]) -> None:
        """Commit *batch* in one transaction, again and again while the database is unavailable."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._database.write_by(partial(records.insert_entries, batch=batch))
            except StoreUnavailableError as exc:
                if pause == FIRST_PAUSE:
                    logger.warning("the ledger waits for the database: %s", type(exc.__cause__).__name__)
                await self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return
