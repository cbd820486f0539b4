"""An upstream that counts, and readers that know what they must have seen: every number once, in order, one ending."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from random import Random

from streamproxy.domain.streamlog import LOST_NUMBER
from streamproxy.wire.sse import Decoder, Event
from tests.e2e.talk import MODEL, acknowledge, acknowledged, begin, newest
from tests.streams.events import ending, numbers, text
from tests.support.http import Client, Connection, chat
from tests.support.steps import Answer, Step, completion_of, done, finish, reply, say, usage

QUESTION = "Count."
# As EventSource waits without a word from the server; ours says 1 s, and less in a test is only quicker.
RECONNECT_SECONDS = 0.1
# RELIABILITY I3: every stream ends within this time of its worker's death.
ENDING_SECONDS = 15.0


def count(last: int, *, pace: float) -> Step:
    """Say 1 to *last*, one number every *pace* seconds, and end well."""

    async def step(answer: Answer) -> None:
        for number in range(1, last + 1):
            await say(f"{number} ")(answer)
            await asyncio.sleep(pace)
        for part in (finish(), usage(), done()):
            await part(answer)

    return step


def converse(last: int, *, pace: float) -> Step:
    """``count`` to who asks for it; everybody else gets their own words back at once, streamed or whole."""
    counts, streams = count(last, pace=pace), acknowledge()

    async def step(answer: Answer) -> None:
        if newest(answer.request) == QUESTION:
            await counts(answer)
        elif answer.request.json.get("stream"):
            await streams(answer)
        else:
            await reply(200, completion_of(acknowledged(newest(answer.request))))(answer)

    return step


def count_until(over: asyncio.Event, *, pace: float) -> Step:
    """To who asks for it: count on until the test says that it is *over*, say "end" and end well."""
    answers = converse(0, pace=0)

    async def step(answer: Answer) -> None:
        if newest(answer.request) != QUESTION:
            return await answers(answer)
        number = 0
        while not over.is_set():
            number += 1
            await say(f"{number} ")(answer)
            await asyncio.sleep(pace)
        for part in (say("end"), finish(), usage(), done()):
            await part(answer)
        return None

    return step


def is_counted(text: str) -> bool:
    """Whether *text* is all that ``count_until`` has said."""
    numbers = text.removesuffix("end")
    return text.endswith("end") and numbers == counted(numbers.count(" ")) != ""


def counted(last: int) -> str:
    """All that ``count`` says."""
    return "".join(f"{number} " for number in range(1, last + 1))


async def open_count(client: Client) -> Connection:
    """A stream that nobody can resume."""
    return await begin(client, QUESTION)


async def read_plain(client: Client, last: int) -> None:
    """A stream that nobody can resume: it must arrive whole."""
    answer = await (await open_count(client)).reply()
    assert (answer.status, answer.text()) == (200, counted(last))


@dataclass(slots=True)
class Follower:
    """Reads one resumable stream as a page does: comes back after every end, anywhere, behind the last id it saw.

    *clients* are where it may read. *drops* is how many times it leaves by itself, at random moments.
    """

    clients: list[Client]
    random: Random
    drops: int = 0
    events: list[Event] = field(default_factory=list)
    connects: int = 0
    refused: list[int] = field(default_factory=list)
    url: object = ""

    async def begin(self, where: Client, **fields: object) -> str:
        """Start the stream at one worker; returns its id."""
        stream = await self._start(where, fields)
        self.url = stream["events_url"]
        return str(stream["id"])

    async def _start(self, where: Client, fields: dict[str, object]) -> dict[str, object]:
        """As a page does: when Redis did not answer within its quarter of a second, on a machine that is busy with
        other tests, ask once more after the second that the answer says."""
        body = {**chat(QUESTION), "model": MODEL, **fields}
        answer = await where.ask("POST", "/v1/streams", body)
        while answer.status == 503 and answer.json["error"]["code"] == "store_unavailable":
            await asyncio.sleep(float(answer.head.get("Retry-After") or "missing"))
            answer = await where.ask("POST", "/v1/streams", body)
        assert answer.status == 201, answer
        stream: dict[str, object] = answer.json
        return stream

    async def follow(self) -> None:
        """Read to the terminal event."""
        while not self.over:
            with contextlib.suppress(ConnectionError):
                await self._read_once()
            await asyncio.sleep(RECONNECT_SECONDS)

    @property
    def over(self) -> bool:
        """The terminal event has come."""
        return bool(self.events) and self.events[-1].event != "message"

    async def _read_once(self) -> None:
        position = {"last_event_id": self.events[-1].id or ""} if self.events else {}
        self.connects += 1
        client = self.random.choice(self.clients)
        connection = await client.send("GET", str(self.url), **position)
        try:
            status = (await connection.head()).status
            if status == 200:
                await self._take(connection)
            else:
                self.refused.append(status)
        finally:
            connection.leave()

    async def _take(self, connection: Connection) -> None:
        decoder, stays = Decoder(), self.random.randint(1, 20) if self.drops > 0 else 1 << 30
        while stays > 0 and (piece := await connection.piece()):
            found = decoder.feed(piece)
            self.events += found
            stays -= len(found)
        if stays <= 0:
            self.drops -= 1

    def check(self, last: int) -> None:
        """Nothing lost, nothing twice, to the good end."""
        assert numbers(self.events) == list(range(1, len(self.events) + 1))
        assert ending(self.events)[0] == "done", ending(self.events)
        assert text(self.events) == counted(last)

    def check_all(self) -> None:
        """As ``check``, of an upstream that counted until it was over."""
        assert numbers(self.events) == list(range(1, len(self.events) + 1))
        assert ending(self.events)[0] == "done", ending(self.events)
        assert is_counted(text(self.events))

    def check_broken(self, code: str) -> None:
        """Nothing lost or twice of what was said, and then the truth about the rest."""
        assert numbers(self.events) == [*range(1, len(self.events)), LOST_NUMBER]
        name, told = ending(self.events)
        assert (name, told["error"]["code"]) == ("failed", code)
        said = text(self.events)
        assert said == counted(said.count(" "))
