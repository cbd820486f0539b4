"""What the simple chat tells of a user's history: rows as said, and a day of the configured zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.streams import EndReason, HistoryMessage, Usage, UsageRecord
from streamproxy.services.remarks import Remarks
from streamproxy.stores.sql.connect import open_sql
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.stores.sql.migrations import migrate

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture
def ledger(io_loop: IOLoop, sqlite_url: str) -> Iterator[SqlLedger]:
    migrate(sqlite_url)
    database = io_loop.run_sync(lambda: open_sql(sqlite_url))
    ledger = SqlLedger(database)
    io_loop.run_sync(ledger.start)
    yield ledger
    io_loop.run_sync(ledger.close)
    io_loop.run_sync(database.close)


def at(text: str, zone: ZoneInfo = SHANGHAI) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


async def said(ledger: SqlLedger, number: int, created: float, *messages: dict[str, object]) -> None:
    record = UsageRecord(
        stream_id=f"st_{number}",
        request_id=f"r_{number}",
        user_id="u_1",
        session_id=None,
        endpoint="/llm/message",
        model="m",
        upstream="u",
        key_last4="",
        created=created,
        ttft_ms=1,
        duration_ms=1,
        chunks=1,
        attempts=1,
        usage=Usage(),
        end_reason=EndReason.FINISH,
    )
    history = [
        HistoryMessage("u_1", None, f"st_{number}", position, str(m["role"]), msgspec.json.encode(m).decode(), created)
        for position, m in enumerate(messages)
    ]
    await ledger.write(record, history)


async def test_today_is_the_day_of_the_configured_zone(ledger: SqlLedger) -> None:
    """16:00 UTC is midnight in Shanghai."""
    for number, time in enumerate(("2025-03-01 23:59:59", "2025-03-02 00:00:00", "2025-03-02 23:59:59")):
        await said(ledger, number, at(time))
    counts = [
        await Remarks(ledger, zone=zone, clock=lambda: at("2025-03-02 12:00")).accepted_today("u_1", ["/llm/message"])
        for zone in (SHANGHAI, ZoneInfo("UTC"))
    ]
    assert counts == [2, 1]
    later = Remarks(ledger, zone=SHANGHAI, clock=lambda: at("2025-03-03 00:00"))
    assert await later.accepted_today("u_1", ["/llm/message"]) == 0
    in_utc = Remarks(ledger, zone=ZoneInfo("UTC"), clock=lambda: at("2025-03-03 00:00"))
    assert await in_utc.accepted_today("u_1", ["/llm/message"]) == 1


async def test_whatever_a_message_holds_its_words_are_told(ledger: SqlLedger) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    await said(
        ledger,
        1,
        1000.0,
        {"role": "system", "content": "rules"},
        {"role": "user", "content": [{"type": "text", "text": "What"}, picture, {"type": "text", "text": "is it?"}]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": None, "tool_calls": []},
    )
    remarks = await Remarks(ledger, zone=SHANGHAI, clock=lambda: 0.0).newest("u_1", 10)
    assert [(r.speaker, r.text) for r in remarks] == [("user", "What\nis it?"), ("ai", "No."), ("ai", "")]
