"""SQL is locked, or gone: answers go on, and everything that was answered is in the books afterwards, once."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Person, Server
from tests.e2e.talk import acknowledged, ask
from tests.faults.counting import converse, count_until, is_counted, open_count
from tests.faults.profile import amount
from tests.support.http import Reply
from tests.support.postgres_server import PostgresServer
from tests.support.upstream import ScriptedUpstream

LOCKED_SECONDS = amount(short=3, long=30)
OUTAGES = amount(short=1, long=10)
QUESTIONS = 5
PACE = 0.05


@contextmanager
def locked(server: Server) -> Iterator[None]:
    """Another process holds SQLite's write lock: a backup, or somebody's forgotten transaction."""
    path = server.database_url.removeprefix("sqlite+aiosqlite:///")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


async def whole(server: Server, speak: Speak, person: Person, *, session: str | None = None) -> int:
    """Ask some questions, streamed and not; how many were answered, which is all of them."""
    for number in range(QUESTIONS):
        answer = await ask(speak(server, person), f"question {number}", session)
        assert (answer.status, answer.text()) == (200, acknowledged(f"question {number}"))
        other = await ask(speak(server, person), f"question {number}", stream=False)
        assert other.json["choices"][0]["message"]["content"] == acknowledged(f"question {number}")
    return 2 * QUESTIONS


async def in_the_books(server: Server, person: Person, count: int) -> None:
    """One row each, of which none twice."""
    rows = await server.usage(person, count)
    assert Counter(row["end_reason"] for row in rows) == {"finish": count}
    assert len({row["stream_id"] for row in rows}) == count


@pytest.mark.gen_test(timeout=90)
async def test_a_locked_database_holds_up_nobody(launch: Launch, speak: Speak, upstream: ScriptedUpstream) -> None:
    """Streams go on, new questions are answered, also in a session; when it is free again all is written."""
    server = launch(workers=2, UPSTREAM__MODELS="*")
    (person,) = await server.people(1)
    over = asyncio.Event()
    upstream.script(count_until(over, pace=PACE))
    running = [await open_count(speak(server, person)) for _ in range(4)]
    answered = len(running)
    with locked(server):
        answered += await whole(server, speak, person, session="s")
        await asyncio.sleep(LOCKED_SECONDS)
        answered += await whole(server, speak, person, session="s")
        # Those whose answer follows the books wait for them, for a moment.
        older = await speak(server, person).ask("POST", "/llm/message", {"message": "Well?"})
        assert (older.status, older.json["response"]) == (200, acknowledged("Well?"))
        answered += 1
        over.set()
        for stream in running:
            assert is_counted((await stream.reply()).text())
        assert await server.rows("SELECT * FROM usage") == []
    await in_the_books(server, person, answered)
    server.check_log()


@pytest.mark.gen_test(timeout=60)
async def test_what_a_stopping_worker_could_not_write_is_in_its_log(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """The database stays locked to the end: the rows stand in the log, to be entered later."""
    server = launch(SERVER__DRAIN_SECONDS="1")
    (person,) = await server.people(1)
    upstream.script(converse(0, pace=0))
    with locked(server):
        answered = await whole(server, speak, person)
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
    missing = [line["message"] for line in server.lines() if line["message"].startswith("usage not written: ")]
    assert len(missing) == answered
    assert all(person.id in row for row in missing)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def serve(postgres: PostgresServer, launch: Launch) -> Callable[[], Server]:
    """Starts a server on PostgreSQL, which outlives it."""
    return lambda: launch(workers=2, DATABASE__URL=postgres.create_database("faults"))


@pytest.mark.gen_test(timeout=120)
async def test_a_postgresql_that_is_gone_breaks_no_answer(
    serve: Callable[[], Server], speak: Speak, upstream: ScriptedUpstream, postgres: PostgresServer
) -> None:
    """Who is running ends well, who comes is told that it is away, and afterwards the books are complete."""
    server = serve()
    (person,) = await server.people(1)
    answered = 0
    for _ in range(OUTAGES):
        over = asyncio.Event()
        upstream.script(count_until(over, pace=PACE))
        running = [await open_count(speak(server, person)) for _ in range(4)]
        heads = [await stream.head() for stream in running]
        await asyncio.to_thread(postgres.halt)
        answered += len(running)

        async def refused() -> bool:
            # Who was recognised a moment ago still is.
            answer = await ask(speak(server, person), "Well?")
            assert answer.status in (200, 503), answer
            nonlocal answered
            answered += answer.status == 200
            return bool(answer.status == 503)

        await until(refused, "the database is missed")
        over.set()
        for head, stream in zip(heads, running, strict=True):
            pieces = [frame async for frame in stream.frames()]
            assert is_counted(Reply(head, tuple(pieces)).text())
        await asyncio.to_thread(postgres.launch)

        async def back() -> bool:
            answer = await ask(speak(server, person), "Well?")
            nonlocal answered
            answered += answer.status == 200
            return bool(answer.status == 200)

        await until(back, "questions are answered again")
    await in_the_books(server, person, answered)
    server.check_log()
