"""One proxy for all bad days of upstreams, and what can be found out about each: attempts, keys, ledger, session."""

from __future__ import annotations

import asyncio
import itertools
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from tests.e2e.facts import until
from tests.support.http import Client, Reply, chat
from tests.support.proxies import StartProxy
from tests.support.proxy import ProxyProcess, provider_keys
from tests.support.upstream import ScriptedUpstream

QUESTION = "There?"
# So many that no test meets a key which another one has made cool, or fail five times in a row.
KEYS = 2000
FIRST_EVENT, IDLE, TOTAL = 1.0, 1.0, 3.0
# What a time limit may take longer than it says on a machine that is busy with other tests.
SLACK = 8.0
# No session is of two tests.
_numbers = itertools.count(1)
_STATE = re.compile(r"key …\S* of \S+ is (\w+)")


@pytest.fixture(scope="session")
def watched_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(
        UPSTREAM__API_KEYS=",".join(provider_keys(KEYS)),
        UPSTREAM__CONNECT_TIMEOUT="0.5",
        UPSTREAM__FIRST_EVENT_TIMEOUT=str(FIRST_EVENT),
        UPSTREAM__IDLE_TIMEOUT=str(IDLE),
        UPSTREAM__TOTAL_TIMEOUT=str(TOTAL),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one request came to. *requests* and *keys* count at the upstream; *states* are those keys went into."""

    reply: Reply
    requests: int
    keys: int
    states: Counter[str]
    row: dict[str, Any] | None
    session: list[str]

    @property
    def code(self) -> str | None:
        """The code of the error, by status or in the stream; None for a good answer."""
        if self.reply.status != 200:
            return str(self.reply.json["error"]["code"])
        if not (self.reply.head.get("Content-Type") or "").startswith("text/event-stream"):
            return None
        told = [chunk["error"]["code"] for chunk in self.reply.chunks() if "choices" not in chunk]
        return told[0] if told else None


class Witness:
    """Asks once and finds out everything about it."""

    def __init__(self, proxy: ProxyProcess, client: Client, upstream: ScriptedUpstream) -> None:
        self.proxy = proxy
        self.client = client
        self.upstream = upstream

    async def earn(self) -> None:
        """Good requests enough for one retry: retries are a fifth of the traffic."""
        await asyncio.gather(*(self.client.chat(stream=False) for _ in range(6)))
        assert {request.path for request in self.upstream.requests} == {"/v1/chat/completions"}

    async def ask(self, *, stream: bool, begun: asyncio.Event | None = None, **fields: Any) -> Outcome:
        """One request in a session of its own. *begun* is set when the first event is here."""
        session = f"s-{next(_numbers)}"
        logged, requests = len(self.proxy.log()), len(self.upstream.requests)
        body = chat(QUESTION, stream=stream, **fields)
        async with asyncio.timeout(TOTAL + SLACK):
            reply = await self._reply(body, session, begun)
        asked = self.upstream.requests[requests:]
        return Outcome(
            reply=reply,
            requests=len(asked),
            keys=len({request.header("Authorization") for request in asked}),
            states=Counter(_STATE.findall(self.proxy.log()[logged:])),
            row=await self._row(reply),
            session=await self._session(session),
        )

    async def _reply(self, body: dict[str, Any], session: str, begun: asyncio.Event | None) -> Reply:
        connection = await self.client.send("POST", "/v1/chat/completions", body, x_session_id=session)
        head = await connection.head()
        pieces = [await connection.piece()]
        if begun is not None:
            begun.set()
        while pieces[-1]:
            pieces.append(await connection.piece())
        return Reply(head, tuple(pieces))

    def peak(self) -> int:
        """The most bytes of memory that the proxy's processes had at once so far, in all."""
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in self.proxy.pids()]
        return sum(int(size) * 1024 for status in statuses for size in re.findall(r"VmHWM:\s+(\d+) kB", status))

    async def _row(self, reply: Reply) -> dict[str, Any]:
        """The ledger's row, which is written when the client has its answer."""
        row: dict[str, Any] = await until(
            lambda: self._select(reply.head.get("X-Stream-Id")), "the row is written", SLACK
        )
        return row

    def _select(self, stream_id: str | None) -> dict[str, Any] | None:
        with sqlite3.connect(f"file:{self.proxy.folder}/streamproxy.db?mode=ro", uri=True) as database:
            database.row_factory = sqlite3.Row
            row = database.execute("select * from usage where stream_id = ?", (stream_id,)).fetchone()
        database.close()
        return None if row is None else dict(row)

    async def _session(self, name: str) -> list[str]:
        async with asyncio.timeout(SLACK):
            # 503: Redis took longer than a command may take, on a machine that is busy with other tests.
            while (answer := await self.client.ask("GET", f"/v1/sessions/{name}")).status == 503:
                pass
        return [] if answer.status == 404 else [message["content"] for message in answer.json["messages"]]


@pytest.fixture
def witness(io_loop: IOLoop, watched_proxy: ProxyProcess, upstream: ScriptedUpstream) -> Iterator[Witness]:
    client = Client(watched_proxy.port, watched_proxy.bearer("tester"))
    yield Witness(watched_proxy, client, upstream)
    client.close()
    watched_proxy.check_log()
