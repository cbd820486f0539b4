from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import event, func, select

from streamproxy.domain.ports import KeyCalls, Ledger, UsageSummary
from streamproxy.domain.streams import EndReason, HistoryMessage, Usage, UsageRecord
from streamproxy.errors import BadRequestError, StoreUnavailableError
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.stores.sql.models import messages, usage

DAY = 86400.0
RECORD = UsageRecord(
    stream_id="st_0",
    request_id="req_0",
    user_id="u_bob",
    session_id="s1",
    endpoint="/v1/chat/completions",
    model="gpt-4o",
    upstream="default",
    key_last4="wxyz",
    created=20_000 * DAY + 0.125,
    ttft_ms=120,
    duration_ms=1500,
    chunks=42,
    attempts=1,
    usage=Usage(prompt_tokens=10, completion_tokens=20, cached_tokens=5),
    end_reason=EndReason.FINISH,
)


def record(number: int, **changes: Any) -> UsageRecord:
    return replace(RECORD, stream_id=f"st_{number}", **changes)


def said(number: int, *texts: str, user_id: str = "u_bob", session_id: str | None = "s1") -> list[HistoryMessage]:
    """The messages of stream *number*: each later than those of the stream before."""
    return [
        HistoryMessage(
            user_id, session_id, f"st_{number}", position, "user", f'{{"content":"{text}"}}', 1000.0 + number
        )
        for position, text in enumerate(texts)
    ]


async def rows(database: Database) -> tuple[int, int]:
    """How many rows there are in usage and in messages."""
    async with database.read() as connection:
        counted = [
            (await connection.execute(select(func.count()).select_from(t))).scalar_one() for t in (usage, messages)
        ]
    return counted[0], counted[1]


def contents(history: Sequence[HistoryMessage]) -> list[str]:
    return [m.message.removeprefix('{"content":"').removesuffix('"}') for m in history]


def test_fills_the_port(ledger: SqlLedger) -> None:
    """mypy holds SqlLedger to the Protocol on this line."""
    port: Ledger = ledger
    assert port is ledger


async def test_history_reads_back_as_written(ledger: SqlLedger) -> None:
    """Text as it was said: Chinese, emoji, quotes and line ends, the cut mark and the time to the last bit."""
    whole = HistoryMessage("u_bob", "s1", "st_0", 0, "user", '{"content":"你好 👋\\u0000 \\"x\\"\\r\\n"}', 1.1)
    cut = HistoryMessage("u_bob", "s1", "st_0", 1, "assistant", '{"content":"Gut"}', 2.0000001, complete=False)
    await ledger.write(RECORD, [whole, cut])
    assert await ledger.history("u_bob") == [whole, cut]


async def test_history_is_the_newest_messages_oldest_first(ledger: SqlLedger) -> None:
    for number in range(3):
        await ledger.write(record(number), said(number, f"{number}a", f"{number}b"))
    assert contents(await ledger.history("u_bob", limit=3)) == ["1b", "2a", "2b"]
    assert contents(await ledger.history("u_bob", limit=0)) == []


async def test_history_of_one_user_or_session_shows_no_other(ledger: SqlLedger) -> None:
    await ledger.write(record(0), said(0, "bob s1"))
    await ledger.write(record(1), said(1, "bob s2", session_id="s2"))
    await ledger.write(record(2), said(2, "bob alone", session_id=None))
    await ledger.write(record(3), said(3, "eve s1", user_id="u_eve"))
    assert contents(await ledger.history("u_bob")) == ["bob s1", "bob s2", "bob alone"]
    assert contents(await ledger.history("u_bob", session_id="s1")) == ["bob s1"]
    assert contents(await ledger.history("u_eve", session_id="s1")) == ["eve s1"]
    assert contents(await ledger.history("u_eve", session_id="s2")) == []


async def test_usage_is_summed_by_day_and_model(ledger: SqlLedger) -> None:
    estimated = Usage(prompt_tokens=1, completion_tokens=2, estimated=True)
    await ledger.write(record(0), [])
    await ledger.write(record(1, usage=estimated, end_reason=EndReason.CLIENT_GONE), [])
    await ledger.write(record(2, model="o3", ttft_ms=None, session_id=None, error_code="upstream_stalled"), [])
    await ledger.write(record(3, created=20_001 * DAY), [])
    await ledger.write(record(4, created=20_000 * DAY - 0.001), [])
    await ledger.write(record(5, user_id="u_eve"), [])
    assert await ledger.usage_by_day("u_bob", since=20_000 * DAY) == [
        UsageSummary("2024-10-04", "gpt-4o", 2, 11, 22, 1),
        UsageSummary("2024-10-04", "o3", 1, 10, 20, 0),
        UsageSummary("2024-10-05", "gpt-4o", 1, 10, 20, 0),
    ]


async def test_a_stream_is_written_once(ledger: SqlLedger, database: Database) -> None:
    """Whoever repeats a write (the answer to the first was lost) changes nothing and is told that it is done."""
    await ledger.write(record(0), said(0, "first"))
    await ledger.write(record(0, chunks=99), said(0, "second", "more"))
    assert contents(await ledger.history("u_bob")) == ["first"]
    assert await rows(database) == (1, 1)


async def test_a_stream_written_twice_at_once_is_written_once(ledger: SqlLedger, database: Database) -> None:
    await asyncio.gather(*(ledger.write(record(0), said(0, text)) for text in ("first", "second", "third")))
    assert contents(await ledger.history("u_bob")) == ["first"]
    assert await rows(database) == (1, 1)


async def test_many_writes_at_once_share_their_commits(ledger: SqlLedger, database: Database) -> None:
    """500 streams that end together are all there, after a few commits instead of 500."""
    commits: list[object] = []
    event.listen(database.writing, "commit", commits.append)
    await asyncio.gather(*(ledger.write(record(n), said(n, "question", "answer")) for n in range(500)))
    assert 0 < len(commits) <= 10
    assert await rows(database) == (500, 1000)
    assert ledger.waiting == 0


async def test_an_idle_ledger_commits_at_once(ledger: SqlLedger, database: Database) -> None:
    """Nobody waits for company: one write is one commit, and it is there when write returns."""
    commits: list[object] = []
    event.listen(database.writing, "commit", commits.append)
    await ledger.write(record(0), [])
    assert (len(commits), await rows(database)) == (1, (1, 0))


async def test_a_bad_row_fails_alone(ledger: SqlLedger, database: Database) -> None:
    """A count that no database holds, in the middle of a batch, costs its own stream and nobody else's."""
    bad = {7, 8, 40}
    done = await asyncio.gather(
        *(ledger.write(record(n, chunks=10**30 if n in bad else 1), said(n, "text")) for n in range(50)),
        return_exceptions=True,
    )
    assert {n for n, outcome in enumerate(done) if isinstance(outcome, BadRequestError)} == bad
    assert [outcome for n, outcome in enumerate(done) if n not in bad] == [None] * 47
    assert await rows(database) == (47, 47)


async def test_text_that_no_database_holds_is_replaced(ledger: SqlLedger) -> None:
    """A client chooses the model's name and the message: NUL and lone surrogates cost no row."""
    await ledger.write(record(0, model="gpt\x00\ud800"), said(0, "a\x00b\ud800c"))
    assert contents(await ledger.history("u_bob")) == ["a\ufffdb?c"]
    assert [day.model for day in await ledger.usage_by_day("u_bob", since=0)] == ["gpt\ufffd?"]


async def test_a_cancelled_caller_does_not_withdraw_its_rows(ledger: SqlLedger, database: Database) -> None:
    """The client left and its handler was cancelled: what it consumed is written all the same."""
    task = asyncio.create_task(ledger.write(record(0), said(0, "text")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ledger.close()
    assert await rows(database) == (1, 1)


async def test_closing_writes_what_waits_and_takes_no_more(ledger: SqlLedger, database: Database) -> None:
    writes = [asyncio.create_task(ledger.write(record(n), [])) for n in range(300)]
    await asyncio.sleep(0)
    await ledger.close()
    await asyncio.gather(*writes)
    assert await rows(database) == (300, 0)
    with pytest.raises(StoreUnavailableError):
        await ledger.write(record(301), [])


async def test_calls_are_counted_by_key_once_each(ledger: SqlLedger) -> None:
    """Also when a stream is written twice; one that no key answered counts for none."""
    for number, key in enumerate(("k1", "k1", "k2", "")):
        await ledger.write(record(number, key_id=key), [])
    await ledger.write(record(0, key_id="k1"), [])
    port: KeyCalls = ledger
    assert await port.calls(["k1", "k2", "k3"]) == {"k1": 2, "k2": 1}
    assert await port.calls([]) == {}
