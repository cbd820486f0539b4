"""Two workers' halves of a resumable stream over one real Redis, with everything that can go wrong at hand.

The generation is a list of payloads known beforehand; readers drop and resume where they like. What they saw is
compared with it at the end: exactly 1 … n, each payload right, one terminal event and nothing after it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import redis

from streamproxy.domain.streamlog import Ending, Piece, StreamHead, StreamState
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.livestream import LiveStream
from streamproxy.services.recorder import Recorder
from streamproxy.services.tailer import Tailer
from streamproxy.stores.redis import stream_keys
from streamproxy.stores.redis.connect import RedisLink, open_redis
from streamproxy.stores.redis.streams import RedisStreamLog
from tests.support.redis_server import RedisServer

STREAM_ID = "st_AAAAAAAAAAAAAAAAAAAAAA"
LEASE_SECONDS = 1.0
EVENTS = 150
LOST = Ending(StreamState.FAILED, b'{"error":{"code":"owner_lost"}}')
DONE = Ending(StreamState.DONE, b'{"end_reason":"finish"}')
BOUND = 20.0


def payload(number: int) -> bytes:
    """The payload of event *number*: now and then one that is no plain text delta."""
    if number % 7 == 0:
        return b'{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[%d]}}]}' % number
    return b'{"id":"c","choices":[{"index":0,"delta":{"content":"word %d "}}]}' % number


@dataclass
class Worker:
    """One process's part: what it runs (if it is the owner) and what it tails."""

    link: RedisLink
    store: RedisStreamLog
    recorder: Recorder
    tailer: Tailer
    fenced: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def open(cls, url: str, name: str) -> Worker:
        link = await open_redis(url)
        store = RedisStreamLog(link, replay_seconds=60, running_seconds=60, lease_seconds=LEASE_SECONDS)
        fenced: list[str] = []

        async def bury(stream_id: str) -> None:
            await store.reap(stream_id, LOST)

        recorder = Recorder(
            store, owner=name, fenced=lambda live: fenced.append(live.head.stream_id), renew_seconds=0.3
        )
        worker = cls(link, store, recorder, Tailer(store, bury=bury, patience_seconds=1.0), fenced)
        worker.tasks = [asyncio.create_task(worker.recorder.run()), asyncio.create_task(worker.tailer.run())]
        return worker

    async def die(self) -> None:
        """As kill -9: nothing more is written, nothing is said."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.die()
        await self.link.close()


class Run:
    """One generation with its readers."""

    def __init__(self, server: RedisServer, owner: Worker, other: Worker, random: Random) -> None:
        self.server = server
        self.owner = owner
        self.other = other
        self.random = random
        self.owner_died = False
        self.owner_harmed = False
        self.emptied = False
        head = StreamHead(STREAM_ID, "u_1", "m", 0.0, "req_1", "/v1/streams")
        self.live = LiveStream(head, max_bytes=1 << 20, changed=owner.recorder.changed)
        self.resumed = 0

    async def generate(self, pace: float) -> None:
        await self.owner.recorder.open(self.live)
        for number in range(1, EVENTS + 1):
            if self.owner_died:
                return
            self.live.take(b"data: %b\n\n" % payload(number))
            await asyncio.sleep(pace)
        self.live.end(DONE)

    async def read(self) -> list[bytes]:
        """A reader that drops now and then and resumes on either worker; what it saw, the terminal event last."""
        seen: list[bytes] = []
        endings: list[Ending] = []
        while not endings and not await self._answered_204(len(seen)):
            leave_after = self.random.randint(1, 40)
            here = self.random.random() < 0.5 and not self.owner_died
            async for piece in self._pieces(len(seen), here=here):
                assert piece.first == len(seen) + 1, f"event {piece.first} after {len(seen)}"
                seen += piece.payloads
                endings += [piece.ending] if piece.ending is not None else []
                leave_after -= len(piece.payloads)
                if leave_after <= 0:
                    break
            self.resumed += 1
        # Who saw one event of a dead owner that nobody else knows of, and came back with just that, gets 204.
        assert len(endings) == 1 or self.owner_harmed
        assert seen == [payload(i + 1) for i in range(len(seen))]
        if endings == [DONE]:
            assert len(seen) == EVENTS
        else:
            assert self.owner_harmed, "an unharmed stream ended as lost"
        return seen

    async def _answered_204(self, after: int) -> bool:
        """As StreamService.seen_all: the stream is over, and this is the number of its last event."""
        if not after or (self.owner.recorder.find(STREAM_ID) is not None and not self.owner_died):
            return False
        try:
            page = (await self.other.store.read([(STREAM_ID, after)]))[0]
        except StoreUnavailableError:
            return False
        return page is not None and page.state is not StreamState.RUNNING and page.last <= after

    async def _pieces(self, after: int, *, here: bool) -> AsyncIterator[Piece]:
        """As StreamService.pieces: memory where the stream runs, the log elsewhere."""
        while here and not self.live.fenced and not self.owner_died:
            news = asyncio.ensure_future(self.live.news(after))
            try:
                done, _ = await asyncio.wait({news}, timeout=0.2)
            finally:
                news.cancel()
            if not done:
                continue
            piece = self.live.piece_after(after)
            if piece.payloads or piece.ending:
                after = piece.last
                yield piece
            if piece.ending is not None:
                return
        worker = self.other
        while True:
            page = await worker.tailer.next(STREAM_ID, after)
            if page is None:
                # Owner dead and Redis emptied: nobody knows the rest.
                yield Piece(after + 1, ending=LOST)
                return
            for found in page.pieces:
                news_piece = found.after(after)
                after = max(after, news_piece.last)
                yield news_piece
                if news_piece.ending is not None:
                    return
            if page.state is not StreamState.RUNNING and page.last <= after:
                yield Piece(after + 1, ending=LOST)
                return

    # -- what goes wrong ------------------------------------------------------------------------------

    async def kill_owner(self) -> None:
        self.owner_died = self.owner_harmed = True
        await self.owner.die()

    async def suspend_owner(self) -> None:
        """A worker that the machine forgets for longer than its lease, and that then goes on as if nothing was."""
        self.owner_harmed = True
        await self.owner.die()
        await asyncio.sleep(LEASE_SECONDS + 2.5)
        self.owner.tasks = [asyncio.create_task(self.owner.recorder.run())]

    async def empty_redis(self) -> None:
        self.emptied = True
        self.server.kill()
        await asyncio.to_thread(self.server.start)

    async def pause_redis(self) -> None:
        self.server.send_signal(signal.SIGSTOP)
        await asyncio.sleep(LEASE_SECONDS * 1.5)
        self.server.send_signal(signal.SIGCONT)

    async def cut_connections(self) -> None:
        with redis.Redis(unix_socket_path=str(self.server.socket_path)) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def roll_back(self) -> None:
        """A fail-over to a replica that had not got the newest entry yet."""
        head, log = stream_keys(STREAM_ID)
        with redis.Redis(unix_socket_path=str(self.server.socket_path)) as client:
            newest = client.xrevrange(log, count=1)
            if newest and client.hget(head, "state") == b"running":
                entry, fields = newest[0]
                client.xdel(log, entry)
                last = int(fields[b"f"]) - 1
                client.execute_command("XSETID", log, f"{last}-0")
                client.hset(head, "last", last)

    def check_log(self) -> None:
        """Exactly one terminal event, and nothing after it."""
        _, log = stream_keys(STREAM_ID)
        with redis.Redis(unix_socket_path=str(self.server.socket_path)) as client:
            lines = [line for _, fields in client.xrange(log) for line in fields[b"d"].split(b"\n")]
        if not lines and self.emptied:
            return  # Redis forgot it all behind the ending
        terminal = [i for i, line in enumerate(lines) if line[:1] in (b"D", b"F")]
        assert terminal == [len(lines) - 1], f"terminal events at {terminal} of {len(lines)}"


FAULTS = ("kill_owner", "suspend_owner", "empty_redis", "pause_redis", "cut_connections", "roll_back")


@asynccontextmanager
async def opened(server: RedisServer, random: Random) -> AsyncIterator[Run]:
    with redis.Redis(unix_socket_path=str(server.socket_path)) as client:
        client.flushall()
    owner, other = await Worker.open(server.url, "owner"), await Worker.open(server.url, "other")
    try:
        yield Run(server, owner, other, random)
    finally:
        await owner.close()
        await other.close()


async def play(server: RedisServer, *, seed: int, faults: list[tuple[float, str]], readers: int = 4) -> Run:
    """One generation of about two seconds; *faults* happen at their time, in seconds after its beginning."""
    random = Random(seed)
    async with opened(server, random) as run, asyncio.timeout(BOUND):
        generation = asyncio.create_task(run.generate(0.012))
        await asyncio.sleep(0.05)
        reading = [asyncio.create_task(run.read()) for _ in range(readers)]
        began = asyncio.get_running_loop().time()
        for at, fault in sorted(faults):
            await asyncio.sleep(max(0.0, began + at - asyncio.get_running_loop().time()))
            await getattr(run, fault)()
        try:
            await asyncio.gather(generation, *reading)
        finally:
            for task in (generation, *reading):
                task.cancel()
        # A suspended owner comes back behind its readers: what it still writes must be fenced off.
        await asyncio.sleep(0.5)
        run.check_log()
        return run
