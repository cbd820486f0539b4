"""SQL is locked, full, or gone: answers go on, and everything that was answered is in the books afterwards, once."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Person, Server
from tests.e2e.talk import acknowledged, ask
from tests.faults.counting import converse, count_until, is_counted, open_count
from tests.faults.profile import amount
from tests.faults.sqlfaults import FAULTS, POSTGRES_FAULTS, SEGMENT_BYTES, locked
from tests.support.http import Reply
from tests.support.postgres_server import PostgresServer
from tests.support.smalldisk import may_mount, small_disk
from tests.support.upstream import ScriptedUpstream

OUTAGE_SECONDS = amount(short=3, long=30)
OUTAGES = amount(short=1, long=10)
QUESTIONS = 5
PACE = 0.05
# Fills a table soon, and is no more than a model of 8,192 tokens takes.
LONG_QUESTION = 6000


@pytest.fixture(scope="module", autouse=True)
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """Places for databases, each a small file system where this account may mount one. They outlive the servers."""
    with ExitStack() as stack:

        def make() -> Path:
            return stack.enter_context(small_disk()) if may_mount() else tmp_path_factory.mktemp("disk")

        yield make


async def whole(server: Server, speak: Speak, person: Person, *, session: str | None = None, size: int = 10) -> int:
    """Ask some questions of *size* characters, streamed and not; how many were answered, which is all of them."""
    for _ in range(QUESTIONS):
        question = secrets.token_urlsafe(size)[:size]
        answer = await ask(speak(server, person), question, session)
        assert (answer.status, answer.text()) == (200, acknowledged(question))
        other = await ask(speak(server, person), question, stream=False)
        assert other.json["choices"][0]["message"]["content"] == acknowledged(question)
    return 2 * QUESTIONS


def sqlite_on(disk: Path) -> str:
    """URL of a database there."""
    return f"sqlite+aiosqlite:///{disk}/streamproxy.db"


async def in_the_books(server: Server, person: Person, count: int) -> None:
    """One row each, of which none twice."""
    rows = await server.usage(person, count)
    assert Counter(row["end_reason"] for row in rows) == {"finish": count}
    assert len({row["stream_id"] for row in rows}) == count


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.gen_test(timeout=90)
async def test_a_database_that_takes_nothing_holds_up_nobody(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream, disks: Callable[[], Path], fault: str
) -> None:
    """Streams go on, new questions are answered, also in a session; when it takes something again all is written."""
    server = launch(workers=2, UPSTREAM__MODELS="*", DATABASE__URL=sqlite_on(disks()))
    (person,) = await server.people(1)
    over = asyncio.Event()
    upstream.script(count_until(over, pace=PACE))
    running = [await open_count(speak(server, person)) for _ in range(4)]
    answered = len(running)
    with FAULTS[fault](server):
        answered += await whole(server, speak, person, session="s")
        await asyncio.sleep(OUTAGE_SECONDS)
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
    server = PostgresServer(f"--wal-segsize={SEGMENT_BYTES >> 20}")
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


@pytest.mark.parametrize("fault", POSTGRES_FAULTS)
@pytest.mark.gen_test(timeout=120)
async def test_a_postgresql_that_is_full_breaks_no_answer(
    launch: Launch,
    speak: Speak,
    upstream: ScriptedUpstream,
    postgres: PostgresServer,
    disks: Callable[[], Path],
    fault: str,
) -> None:
    """Until it is, rows are written; then they wait, while it answers who reads; in the end each is there once."""
    own_disk, strike = POSTGRES_FAULTS[fault]
    disk = disks() if own_disk else None
    url = postgres.create_database(f"full_{'disk' if own_disk else 'files'}", disk=disk)
    server = await asyncio.to_thread(launch, workers=2, DATABASE__URL=url)
    (person,) = await server.people(1)
    over = asyncio.Event()
    upstream.script(count_until(over, pace=PACE))
    running = [await open_count(speak(server, person)) for _ in range(4)]
    answered = len(running)

    async def filled() -> bool:
        nonlocal answered
        answered += await whole(server, speak, person, size=LONG_QUESTION)
        return "the ledger waits for the database" in server.log()

    with strike(postgres, disk):
        await until(filled, "the database is full", 60)
        answered += await whole(server, speak, person)
        over.set()
        for stream in running:
            assert is_counted((await stream.reply()).text())
        (row,) = await server.rows("SELECT count(*) AS written FROM usage")
        assert row["written"] < answered
    await in_the_books(server, person, answered)
    server.check_log()
