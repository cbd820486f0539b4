"""A reader that may be dropped at any moment and resumes on whichever worker, as a page would."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from streamproxy.wire.sse import Decoder, Event
from tests.streams.generation import Generation
from tests.support.http import Client, Connection

_LOST = (ConnectionError, asyncio.IncompleteReadError)


class Reader:
    """Checks every event it sees. *position* is the last one's number; *ending* the terminal event's name and value."""

    def __init__(self, generation: Generation, *, position: int = 0) -> None:
        self.generation = generation
        self.position = position
        self.ending: tuple[str, Any] | None = None
        self.refused: tuple[int, str] | None = None
        self.seen_all = False
        self.resumes = 0
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """This reader has its answer: an ending, 204 for having seen it all, or a refusal that is final."""
        return self.ending is not None or self.seen_all or self.refused is not None

    @property
    def reading(self) -> bool:
        return self._task is not None and not self._task.done()

    async def resume(self, client: Client) -> None:
        """Begin to read, or go on behind *position*. A worker that is not there is no fault."""
        assert not self.reading
        self._check_task()
        self.resumes += 1
        headers = {"last_event_id": f"{self.generation.stream_id}.{self.position}"} if self.position else {}
        path = f"/v1/streams/{self.generation.stream_id}/events"
        try:
            self._connection = await client.send("GET", path, **headers)
        except _LOST:
            return
        self._task = asyncio.create_task(self._read(self._connection))

    def drop(self) -> None:
        """The connection is gone, as when a phone changes its network."""
        if self._connection is not None:
            self._connection.reset()
        if self._task is not None:
            self._task.cancel()

    async def pause(self, seconds: float) -> None:
        """Let it read for a while; what it found wrong is raised here."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)
        self._check_task()

    def _check_task(self) -> None:
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    async def _read(self, connection: Connection) -> None:
        decoder = Decoder()
        try:
            head = await connection.head()
            if head.status == 204:
                self.seen_all = True
                return
            if head.status != 200:
                self._refused(head.status, json.loads(await connection.piece()))
                return
            while piece := await connection.piece():
                for event in decoder.feed(piece):
                    self._take(event)
        except _LOST:
            return

    def _take(self, event: Event) -> None:
        assert self.ending is None, f"{event} behind the ending"
        if event.event in {"done", "failed"}:
            self.ending = event.event, json.loads(event.data)
            stream_id, number = event.id.rpartition(".")[::2] if event.id else ("", "0")
            assert stream_id == self.generation.stream_id
            assert int(number) == self.position + 1 or (self._lost and int(number) > self.position), event
        else:
            assert event.event == "message", event
            self.generation.check(self.position + 1, event)
        self.position += 1

    @property
    def _lost(self) -> bool:
        """The ending was written in a dead owner's place."""
        return self.ending is not None and self.ending[1].get("error", {}).get("code") == "owner_lost"

    def _refused(self, status: int, body: Any) -> None:
        # Redis or SQL is away, or this caller comes too often: to be tried again.
        if status not in {429, 503}:
            self.refused = status, body["error"]["code"]
