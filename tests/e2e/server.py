"""A whole installation for one test module: ``serve`` with workers, a Redis of its own, its database, its people.

Accounts are made in the server's database by the code behind the commands, because a command takes a second to
start and these tests need many accounts; the commands themselves are tested where they are the subject.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import redis.asyncio
from sqlalchemy import text as sql_text

from streamproxy.stores.sql.connect import open_sql
from tests.e2e.facts import until_some
from tests.support.http import Client, Connection
from tests.support.proxy import START_SECONDS, STOP_SECONDS, ProxyProcess
from tests.support.redis_server import RedisServer


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the server, with a bearer."""

    id: str
    name: str
    bearer: str


class Server(ProxyProcess):
    """See the module. With *port_per_worker* each of the *workers* is reached at a port of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        upstream: str,
        redis_server: RedisServer | None,
        workers: int = 1,
        port_per_worker: bool = False,
        settings: dict[str, str],
    ) -> None:
        chosen = {"SERVER__WORKERS": str(workers), "SERVER__PORT_PER_WORKER": str(port_per_worker).lower()}
        super().__init__(
            folder, upstream=upstream, redis_url=redis_server.url if redis_server else "", settings=settings | chosen
        )
        self.redis_server = redis_server
        self._options = ["--workers", str(workers), *(["--port-per-worker"] if port_per_worker else [])]
        self._people = 0

    # -- the process ----------------------------------------------------------------------------------

    @property
    def _command(self) -> list[str]:
        return [*super()._command, *self._options]

    def start_again(self) -> subprocess.CompletedProcess[str]:
        """The same command once more, while the first still runs; its end."""
        return subprocess.run(
            self._command,
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the parent."""
        self.process.send_signal(number)

    def worker_pids(self) -> list[int]:
        """The workers: the children that are forks of the parent. The embedded Redis is another program."""
        parent = psutil.Process(self.process.pid)
        return [child.pid for child in parent.children() if not _is_redis(child)]

    def redis_pid(self) -> int:
        """The embedded Redis."""
        (found,) = [child.pid for child in psutil.Process(self.process.pid).children() if _is_redis(child)]
        return int(found)

    def pid_serving(self, stream: Connection) -> int:
        """The worker that holds the other end of *stream*."""
        client_port = stream._sock.getsockname()[1]
        for pid in self.worker_pids():
            for connection in psutil.Process(pid).net_connections("tcp"):
                if connection.raddr and connection.raddr.port == client_port:
                    return pid
        raise AssertionError("no worker holds this connection")

    async def ended(self) -> int:
        """Wait for the parent's end; its exit code."""
        return await asyncio.to_thread(self.process.wait, STOP_SECONDS)

    def put_away(self) -> None:
        """Stop if it still runs; the log is checked in any case."""
        if self.running:
            super().put_away()
        else:
            self.check_log()

    def lines(self) -> list[dict[str, Any]]:
        """The log, which must be one JSON object a line."""
        return [json.loads(line) for line in self.log().splitlines()]

    def requests_logged(self, **fields: object) -> list[dict[str, Any]]:
        """The access lines that have these fields."""
        lines = (line for line in self.lines() if line["message"] == "request")
        return [line for line in lines if all(line.get(name) == value for name, value in fields.items())]

    # -- its people -------------------------------------------------------------------------------------

    async def people(self, count: int) -> list[Person]:
        """New users."""
        self._people += count
        names = [f"person-{number}" for number in range(self._people - count, self._people)]
        async with self.accounts() as accounts:
            users = [await accounts.auth.add_user(name) for name in names]
            return [Person(user.id, user.name, await accounts.auth.issue_bearer(user, days=1)) for user in users]

    async def api_token_of(self, person: Person) -> str:
        """A new API token of *person*."""
        async with self.accounts() as accounts:
            return (await accounts.auth.issue_api_token(await accounts.named(person.name)))[0]

    # -- what lasts ---------------------------------------------------------------------------------------

    async def rows(self, query: str, **values: object) -> list[dict[str, Any]]:
        """What the server's database answers to *query*."""
        database = await open_sql(self.settings.database_url)
        try:
            async with database.read() as connection:
                return [dict(row) for row in (await connection.execute(sql_text(query), values)).mappings()]
        finally:
            await database.close()

    async def usage(self, person: Person, count: int = 1) -> list[dict[str, Any]]:
        """The *count* usage rows of *person*, oldest first. They are written behind the end of a stream."""
        query = "SELECT * FROM usage WHERE user_id = :id ORDER BY created"
        found: list[dict[str, Any]] = await until_some(lambda: self.rows(query, id=person.id), count)
        return found

    async def history(self, person: Person) -> list[dict[str, Any]]:
        """The messages of *person* as said, oldest first. They are written together with the usage."""
        rows = await self.rows(
            "SELECT * FROM messages WHERE user_id = :id ORDER BY created, stream_id, position", id=person.id
        )
        return [{**row, "message": json.loads(row["message"])} for row in rows]

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[redis.asyncio.Redis]:
        """A client of the server's Redis."""
        assert self.redis_server is not None
        client = redis.asyncio.Redis(unix_socket_path=str(self.redis_server.socket_path), decode_responses=True)
        try:
            yield client
        finally:
            await client.aclose()


def _is_redis(process: psutil.Process) -> bool:
    try:
        return "redis" in process.name() or "valkey" in process.name()
    except psutil.NoSuchProcess:
        return False


def client_of(server: Server, person: Person, *, worker: int = 0) -> Client:
    """A client that speaks as *person* to one worker (to any, where all share the port)."""
    return Client(server.ports[worker % len(server.ports)], person.bearer)
