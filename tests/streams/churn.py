"""``make soak-streams``: many new streams a second, whose readers are dropped at random and come back elsewhere.

Every reader that stays, or comes back, has to get events 1 … n once, in order, each with its number in its text, and
one ``event: done``; every stream has to end well and be in the ledger, whoever read it. Anything else is an error, and
one error is exit status 1.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import quantiles

import click
import psutil  # type: ignore[import-untyped]

from streamproxy.wire.sse import Decoder
from tests.bench.machine import allow_many_files
from tests.bench.targets.mock import mock_upstream
from tests.e2e.server import Person, Server, client_of
from tests.support.http import Connection
from tests.support.redis_server import RedisServer

WORKERS = 2
# A user may resume 30 times and read 120 times a minute: so many users that chance makes none of them reach it.
STREAMS_A_USER = 40
EVENTS = 40
MODEL = f"bench-n{EVENTS}-r20"
# Words, the finish chunk, the receipt.
LAST = EVENTS + 2
PATIENCE_SECONDS = 60
_NUMBER = re.compile(rb"n=(\d+) ")
SETTINGS = {
    "LIMITS__REQUESTS": "100000/min",
    "LIMITS__CONCURRENT_STREAMS": "100000",
    "UPSTREAM__MODELS": "*",
    "UPSTREAM__API_KEYS": "sk-churn-first,sk-churn-second",
}


@dataclass(slots=True)
class Tally:
    """What happened. Times in seconds."""

    started: int = 0
    dropped: int = 0
    resumed: int = 0
    events: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    starts: list[float] = field(default_factory=list)
    resumes: list[float] = field(default_factory=list)


class Churn:
    """Streams at *server*, of *people* in turn."""

    def __init__(self, server: Server, people: list[Person], *, drops: float, random: Random) -> None:
        self.tally = Tally()
        self._server = server
        self._people = people
        self._drops = drops
        self._random = random

    async def run(self, *, rate: float, seconds: float) -> None:
        """Start *rate* streams a second, evenly, for *seconds*; return when all are over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(round(rate * seconds)):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                group.create_task(self._watched(self._people[number % len(self._people)], number % WORKERS))

    async def _watched(self, person: Person, worker: int) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._stream(person, worker)
        except Exception as fault:  # noqa: BLE001 - counted: the run goes on, and fails in the end
            self.tally.errors[f"{type(fault).__name__}: {str(fault)[:160]}"] += 1

    async def _stream(self, person: Person, worker: int) -> None:
        tally, client = self.tally, client_of(self._server, person, worker=worker)
        began = time.monotonic()
        try:
            body = {"model": MODEL, "messages": [{"role": "user", "content": "Talk."}]}
            answer = await client.ask("POST", "/v1/streams", body)
            assert answer.status == 201, f"POST {answer.status} {answer.body[:200]!r}"
            tally.starts.append(time.monotonic() - began)
            tally.started += 1
            url = answer.json["events_url"]
            leave_at = self._random.randint(1, EVENTS) if self._random.random() < self._drops else None
            position = await self._read(await client.send("GET", url), answer.json["id"], 0, leave_at)
        finally:
            client.close()
        if leave_at is not None and position < LAST:
            tally.dropped += 1
            if tally.dropped % 2:
                await self._resume(person, worker + 1, answer.json["id"], url, position)

    async def _resume(self, person: Person, worker: int, stream_id: str, url: str, position: int) -> None:
        began = time.monotonic()
        client = client_of(self._server, person, worker=worker)
        try:
            connection = await client.send("GET", url, last_event_id=f"{stream_id}.{position}", authorization="")
            await self._read(connection, stream_id, position, None, began=began)
        finally:
            client.close()
        self.tally.resumed += 1

    async def _read(
        self,
        connection: Connection,
        stream_id: str,
        position: int,
        leave_at: int | None,
        *,
        began: float | None = None,
    ) -> int:
        """Read behind *position* to the end, or until *leave_at*; the last number seen."""
        head = await connection.head()
        assert head.status == 200, f"GET {head.status}"
        decoder = Decoder()
        while piece := await connection.piece():
            for event in decoder.feed(piece):
                if began is not None:
                    self.tally.resumes.append(time.monotonic() - began)
                    began = None
                position += 1
                self.tally.events += 1
                assert event.id == f"{stream_id}.{position}", f"{event.id} where {position} was due"
                if event.event == "done":
                    assert position == LAST, f"the end at {position}"
                    assert json.loads(event.data)["end_reason"] == "finish"
                    # It may have come together with what this reader wanted to leave at.
                    return position
                assert event.event == "message", event.event
                number = _NUMBER.search(event.data.encode())
                assert number is None or int(number[1]) in {position, position - 1}, event.data
            if leave_at is not None and position >= leave_at:
                connection.reset()
                return position
        raise AssertionError(f"the stream ended at {position} without an ending")


@contextmanager
def served(folder: Path, upstream: int) -> Iterator[Server]:
    store = RedisServer(folder)
    server = Server(
        folder,
        upstream=f"http://127.0.0.1:{upstream}/v1",
        redis_server=store,
        workers=WORKERS,
        port_per_worker=True,
        settings=SETTINGS,
    )
    store.start()
    try:
        server.start()
        yield server
        server.stop()
    finally:
        if server.running:
            server.process.kill()
        store.stop()


async def measured(server: Server, *, rate: float, seconds: float, drops: float, seed: int) -> Tally:
    """Run it, and look into the ledger: one well-ended row a stream."""
    people = await server.people(max(1, round(rate * seconds) // STREAMS_A_USER))
    churn = Churn(server, people, drops=drops, random=Random(seed))
    await churn.run(rate=rate, seconds=seconds)
    tally = churn.tally
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        rows = await server.rows("SELECT end_reason, COUNT(*) AS n FROM usage GROUP BY end_reason")
        found = {row["end_reason"]: row["n"] for row in rows}
        if found == {"finish": tally.started} or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    if found != {"finish": tally.started}:
        tally.errors[f"the ledger has {found} for {tally.started} streams"] += 1
    return tally


def report(tally: Tally, cpu_seconds: float, seconds: float) -> str:
    """What is printed."""

    def middle_and_tail(times: list[float]) -> str:
        cuts = quantiles(times, n=100) if len(times) > 1 else [0.0] * 99
        return f"{cuts[49] * 1000:.0f} / {cuts[98] * 1000:.0f} ms"

    lines = [
        f"streams started        {tally.started}",
        f"readers dropped        {tally.dropped}, of which resumed on the other worker {tally.resumed}",
        f"events read            {tally.events}",
        f"errors                 {tally.errors.total()}",
        f"POST, p50 / p99        {middle_and_tail(tally.starts)}",
        f"resume, first event    {middle_and_tail(tally.resumes)} (p50 / p99)",
        f"CPU of the workers     {cpu_seconds / max(1, tally.started) * 1000:.1f} ms a stream of {LAST} events",
        f"                       {cpu_seconds / seconds:.2f} cores",
    ]
    return "\n".join([*lines, *(f"  {count} × {what}" for what, count in tally.errors.most_common(10))])


@click.command(epilog="One line an error kind; exit status 1 when there was any. Everything runs on 127.0.0.1.")
@click.option("--rate", default=100.0, show_default=True, help="New streams a second.")
@click.option("--seconds", default=60.0, show_default=True, help="For how long.")
@click.option("--drops", default=0.3, show_default=True, help="Share of readers that are dropped; half come back.")
@click.option("--seed", default=1, show_default=True, help="Of the random moments.")
def main(rate: float, seconds: float, drops: float, seed: int) -> None:
    """100 new streams a second for a minute, 30 % of the readers dropped, half of them back on the other worker."""
    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="churn") as name:
        folder = Path(name)
        with mock_upstream(folder) as mock, served(folder, mock.port) as server:
            processes = [psutil.Process(pid) for pid in server.worker_pids()]
            began = time.monotonic()
            before = sum(sum(process.cpu_times()[:2]) for process in processes)
            tally = asyncio.run(measured(server, rate=rate, seconds=seconds, drops=drops, seed=seed))
            spent = sum(sum(process.cpu_times()[:2]) for process in processes) - before
            print(report(tally, spent, time.monotonic() - began))
    sys.exit(1 if tally.errors else 0)


if __name__ == "__main__":
    main()
