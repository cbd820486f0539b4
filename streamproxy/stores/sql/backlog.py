"""What waits to be written to the ledger: bounded by entries and by bytes, in order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from streamproxy.errors import StoreUnavailableError

# Values in the order of their columns, which ``records`` knows.
Row: TypeAlias = tuple[Any, ...]


class Entry(msgspec.Struct, frozen=True, eq=False):
    """The rows of the stream *stream_id*. *tell* is to be called with None when they are committed, else with what
    refused them; *size* is roughly what they take in memory, in bytes."""

    stream_id: str
    usage: Row
    messages: Sequence[Row]
    tell: Callable[[Exception | None], None]
    size: int


class Backlog:
    """A queue that is refused to, not waited on, when it is full: memory is the worker's, not one client's."""

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: list[Entry] = []
        self._bytes = 0
        self._closed = True
        # Whoever waits for the first entry; the ledger alone does.
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def open(self) -> None:
        self._closed = False

    def close(self) -> None:
        """Take no more; ``next_batch`` hands out what is there and then ends."""
        self._closed = True
        self._wake()

    def put(self, entry: Entry) -> None:
        """StoreUnavailableError when it is full or closed."""
        if self._closed:
            raise StoreUnavailableError("The ledger is closed.")
        if len(self._entries) >= self._max_entries or self._bytes + entry.size > self._max_bytes:
            raise StoreUnavailableError("The ledger is full: the database has not answered for too long.")
        self._entries.append(entry)
        self._bytes += entry.size
        if self._waiter is not None:
            self._wake()

    async def next_batch(self, most: int) -> list[Entry]:
        """Wait until something is there and return up to *most* of it; empty when closed and drained.

        What is returned still counts as waiting until ``drop``: it is still in memory.
        """
        while not self._entries and not self._closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._entries[:most]

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def drop(self, batch: Sequence[Entry]) -> None:
        """The oldest ones, *batch*, are settled."""
        del self._entries[: len(batch)]
        for entry in batch:
            self._bytes -= entry.size

    def all(self) -> list[Entry]:
        """Everything that waits."""
        return self._entries.copy()
