"""Reads family B's events from a connection, as EventSource would, and keeps what it saw."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from streamproxy.stores.redis import stream_keys
from streamproxy.wire.sse import Decoder, Event
from tests.e2e.facts import until
from tests.e2e.server import Server
from tests.support.http import Client, Connection, Reply


@dataclass(slots=True)
class Reading:
    """One GET of a stream's events, read as far as wanted."""

    connection: Connection
    status: int = 0
    stream_id: str = ""
    events: list[Event] = field(default_factory=list)
    _decoder: Decoder = field(default_factory=Decoder)

    async def begin(self) -> Reading:
        head = await self.connection.head()
        self.status, self.stream_id = head.status, head.get("X-Stream-Id") or ""
        return self

    async def until(self, count: int) -> list[Event]:
        """Read until at least *count* events have come."""
        while len(self.events) < count:
            piece = await self.connection.piece()
            assert piece, f"the stream ended after {len(self.events)} events"
            self.events += self._decoder.feed(piece)
        return self.events

    async def to_the_end(self) -> list[Event]:
        while piece := await self.connection.piece():
            self.events += self._decoder.feed(piece)
        return self.events


async def open_events(client: Client, path: str, **headers: str) -> Reading:
    return await Reading(await client.send("GET", path, **headers)).begin()


def numbers(events: list[Event]) -> list[int]:
    """The numbers in the events' ids."""
    return [int((event.id or "").rpartition(".")[2]) for event in events]


def text(events: list[Event]) -> str:
    """What the chunks among *events* say."""
    chunks = [json.loads(event.data) for event in events if event.event == "message"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def ending(events: list[Event]) -> tuple[str, Any]:
    """Name and value of the one terminal event, which must be the last."""
    terminal = [event for event in events if event.event != "message"]
    assert terminal == events[-1:], [event.event for event in events]
    return terminal[0].event, json.loads(terminal[0].data)


async def until_recorded(server: Server, stream_id: str) -> None:
    """Wait until the log has the stream's end; its own worker's readers are told a moment earlier."""
    head, _ = stream_keys(stream_id)

    async def recorded() -> bool:
        async with server.redis() as redis:
            return await redis.hget(head, "state") in {"done", "failed"}

    await until(recorded, "its end is in the log")


async def start(
    client: Client, content: str = "Hello there", *, headers: dict[str, str] | None = None, **fields: Any
) -> Any:
    """POST /v1/streams; the answer's JSON, which must be a 201."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}], **fields}
    answer: Reply = await client.ask("POST", "/v1/streams", body, **(headers or {}))
    assert answer.status == 201, answer
    return answer.json


async def lose_the_middle(server: Server, stream_id: str) -> int:
    """Make of an ended stream's log what it is without its first entry, the last three events; the first one's number.

    How many entries it has depends on how busy the worker was: it is written anew, as one.
    """
    _, log = stream_keys(stream_id)
    async with server.redis() as redis:
        lines = [line for _, fields in await redis.xrange(log) for line in fields["d"].split("\n")]
        first = len(lines) - 2
        await redis.delete(log)
        await redis.xadd(log, {"f": first, "d": "\n".join(lines[-3:])}, id=f"{len(lines)}-0")
    return first
