"""Two real workers, their Redis, generations and readers, and everything that can go wrong with them.

The state machine makes random programs of these methods, the mutants' tests fixed ones. ``conclude`` brings every
reader to its end and holds the promise: events 1 … n each once and each right, one ending and nothing behind it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import psutil  # type: ignore[import-untyped]
import redis

from streamproxy.stores.redis import stream_keys
from tests.e2e.facts import until
from tests.e2e.server import Person, Server, client_of
from tests.streams.generation import Generation
from tests.streams.reader import Reader
from tests.support.http import Client, Reply
from tests.support.processes import readiness
from tests.support.proxy import USUAL_PATIENCE
from tests.support.upstream import ScriptedUpstream

WORKERS = 2
LEASE_SECONDS = 3.0
# Beyond this a dead owner is found out (lease, then half of it in patience), on a machine with other work too.
FOUND_OUT_SECONDS = 3 * LEASE_SECONDS
BOUND = 40.0
SETTINGS = {
    "STREAMS__LEASE_SECONDS": str(LEASE_SECONDS),
    "STREAMS__HEARTBEAT_SECONDS": "0.5",
    "UPSTREAM__IDLE_TIMEOUT": "60",
    **USUAL_PATIENCE,
}


class Arena:
    """One program's generations and readers on the module's *server*."""

    def __init__(self, server: Server, upstream: ScriptedUpstream, person: Person, *, random: Random) -> None:
        self.server = server
        self.generations: list[Generation] = []
        self.readers: list[Reader] = []
        self.emptied = False
        self._upstream = upstream
        self._person = person
        self._random = random
        self._clients = [client_of(server, person, worker=worker) for worker in range(WORKERS)]

    # -- what users do ----------------------------------------------------------------------------------

    async def begin(self, worker: int) -> Generation:
        """Start a stream on *worker*, which has to be there; it may have to find its Redis again first."""
        generation = Generation(owner=worker)
        self._upstream.once(generation.step)
        answer = await until(lambda: self._started(worker), f"worker {worker} starts a stream")
        generation.stream_id = answer.json["id"]
        # Waited for, so that the next generation's script is not taken for this one's.
        generation.request = await self._upstream.request()
        self.generations.append(generation)
        return generation

    async def read(self, generation: Generation, worker: int, *, position: int = 0) -> Reader:
        reader = Reader(generation, position=position)
        self.readers.append(reader)
        await reader.resume(self._clients[worker])
        return reader

    async def resume(self, reader: Reader, worker: int) -> None:
        await reader.resume(self._clients[worker])

    async def cancel(self, generation: Generation, worker: int) -> None:
        """Whether it took effect is seen at the ending: a worker or Redis may be away."""
        generation.cancelled = True
        client = Client(self.server.ports[worker], self._person.bearer)
        try:
            async with asyncio.timeout(6):
                await client.ask("POST", f"/v1/streams/{generation.stream_id}/cancel")
        except (ConnectionError, TimeoutError):
            return
        finally:
            client.close()

    # -- what goes wrong ----------------------------------------------------------------------------------

    async def kill(self, worker: int) -> None:
        """kill -9: nothing more is written, nothing is said; the supervisor starts another one."""
        self._harm(worker)
        (await self._process(worker)).send_signal(signal.SIGKILL)

    async def suspend(self, worker: int) -> None:
        """Forgotten by the machine until others have ended its streams; then it goes on as if nothing was."""
        self._harm(worker)
        process = await self._process(worker)
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(FOUND_OUT_SECONDS)
        finally:
            process.send_signal(signal.SIGCONT)

    async def empty_redis(self) -> None:
        """A restart without persistence."""
        assert self.server.redis_server is not None
        self.emptied = True
        self.server.redis_server.kill()
        await asyncio.to_thread(self.server.redis_server.start)

    async def pause_redis(self) -> None:
        """For longer than a lease: nobody is to be taken for dead by that."""
        with self.redis_stopped():
            await asyncio.sleep(LEASE_SECONDS * 1.3)

    @contextmanager
    def redis_stopped(self) -> Iterator[None]:
        """It answers nobody and takes nothing, and then goes on."""
        assert self.server.redis_server is not None
        self.server.redis_server.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.server.redis_server.send_signal(signal.SIGCONT)

    async def cut_connections(self) -> None:
        """Every connection to Redis, the readers' as well as the owners'."""
        with self._redis() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def roll_back(self, generation: Generation, *, behind: int = 0) -> None:
        """A fail-over to a replica that had not got the newest entry yet; one that begins *behind* this number."""
        head, log = stream_keys(generation.stream_id)
        with self._redis() as client:
            newest = client.xrevrange(log, count=1)
            if newest and client.hget(head, "state") == b"running":
                entry, fields = newest[0]
                last = int(fields[b"f"]) - 1
                if last < behind:
                    return
                client.xdel(log, entry)
                client.execute_command("XSETID", log, f"{last}-0")
                client.hset(head, "last", last)

    # -- what is promised ---------------------------------------------------------------------------------

    async def conclude(self) -> None:
        """End what has not ended, bring every reader to its end within BOUND, and check everything."""
        for generation in self.generations:
            generation.end()
        async with asyncio.timeout(BOUND):
            await asyncio.gather(*map(self._finish, self.readers))
            await self._settle_down()
            # Whoever comes now, anywhere, is told the whole of it.
            replays = [(generation, await self._replays(generation)) for generation in self.generations]
        for reader in self.readers:
            self._check(reader)
        for generation, everywhere in replays:
            endings = [reader.ending or reader.refused for reader in everywhere]
            assert endings.count(endings[0]) == WORKERS, f"different endings: {endings}"
            await self._check_log(generation)
            await self._check_ledger(generation)

    async def _replays(self, generation: Generation) -> list[Reader]:
        """Readers of all of it, who have begun on one worker each."""
        replays = [await self.read(generation, worker) for worker in range(WORKERS)]
        await asyncio.gather(*map(self._finish, replays))
        return replays

    async def _settle_down(self) -> None:
        """Return when nothing more is written by anybody, a zombie that has woken up included.

        A worker writes a piece of each of its streams in the same round: once a later stream is in the log, an earlier
        one has been refused if it was to be, and what is left of it are pieces that ``_check_log`` waits for.
        """
        concluded = [*self.generations]
        await until(self._all_ready, "all workers are well")
        for generation in concluded:
            await generation.left()
        for worker in range(WORKERS):
            later = await self.begin(worker)
            later.say(1)
            later.end()
            await self._finish(await self.read(later, (worker + 1) % WORKERS))

    async def close(self) -> None:
        """Leave nothing open, however the program went."""
        for reader in self.readers:
            reader.drop()
        await asyncio.gather(*(reader.pause(1) for reader in self.readers), return_exceptions=True)
        for client in self._clients:
            client.close()

    async def recover(self) -> None:
        """Wait until every worker is well again, for the next program."""
        await until(self._all_ready, "all workers are well")

    async def _finish(self, reader: Reader) -> None:
        while not reader.over:
            if not reader.reading:
                await reader.resume(self._clients[self._random.randrange(WORKERS)])
            await reader.pause(0.2)
            if not reader.reading and not reader.over:
                await asyncio.sleep(0.2)

    def _check(self, reader: Reader) -> None:
        generation = reader.generation
        if reader.refused is not None:
            # Redis forgot it, and nobody was left who knew it better.
            assert self.emptied, reader.refused
            assert reader.refused in {(410, "stream_expired"), (404, "stream_not_found")}, reader.refused
        elif reader.ending is not None and reader.ending[0] == "done":
            reason = reader.ending[1]["end_reason"]
            assert reason == "finish" or (reason == "cancelled" and generation.cancelled), reason
            # All words, the finish chunk, the ending.
            assert reader.position == generation.said + 2 or reason == "cancelled"
        else:
            assert reader.ending is not None, "it was sent away without an ending"
            assert generation.harmed or self.emptied, f"an unharmed stream ended with {reader.ending}"

    async def _check_log(self, generation: Generation) -> None:
        """Exactly one terminal event, and nothing behind it, also from a zombie that has woken up."""
        if not self._lines(generation) and self.emptied:
            return
        await until(lambda: any(map(_is_terminal, self._lines(generation))), "the ending is in the log")
        lines = self._lines(generation)
        terminal = [i for i, line in enumerate(lines) if _is_terminal(line)]
        assert terminal == [len(lines) - 1], f"terminal events at {terminal} of {len(lines)}"

    def _lines(self, generation: Generation) -> list[bytes]:
        """All that is in the log, one event each."""
        _, log = stream_keys(generation.stream_id)
        with self._redis() as client:
            return [line for _, fields in client.xrange(log) for line in fields[b"d"].split(b"\n")]

    async def _check_ledger(self, generation: Generation) -> None:
        """One row of usage, with the reason, whoever wrote it."""
        if generation.harmed and self.emptied:
            return  # nobody is left who knows that there was such a stream
        query = "SELECT end_reason FROM usage WHERE stream_id = :id"
        (row,) = await until(lambda: self.server.rows(query, id=generation.stream_id), "the stream is settled")
        reasons = {"finish", "worker_lost"} if generation.harmed else {"finish"}
        assert row["end_reason"] in reasons | ({"cancelled"} if generation.cancelled else set()), row

    # -- means ------------------------------------------------------------------------------------------------

    async def _started(self, worker: int) -> Reply | None:
        body = {"model": "scripted", "messages": [{"role": "user", "content": "Talk."}]}
        answer = await self._clients[worker].ask("POST", "/v1/streams", body)
        assert answer.status in {201, 503}, answer
        return answer if answer.status == 201 else None

    def _harm(self, worker: int) -> None:
        for generation in self.generations:
            generation.harmed |= generation.owner == worker

    def _all_ready(self) -> bool:
        return all(readiness(port)[0] == 200 for port in self.server.ports)

    async def _process(self, worker: int) -> psutil.Process:
        """The process behind a worker's port."""
        connection = await self._clients[worker].connect()

        def pid() -> int | None:
            try:
                return self.server.pid_serving(connection)
            except (AssertionError, psutil.NoSuchProcess):
                return None

        return psutil.Process(await until(pid, f"worker {worker} has accepted"))

    def _redis(self) -> redis.Redis:
        assert self.server.redis_server is not None
        return redis.Redis(unix_socket_path=str(self.server.redis_server.socket_path))


def _is_terminal(line: bytes) -> bool:
    return line[:1] in (b"D", b"F")
