"""Everybody's usage in pages."""

from __future__ import annotations

from typing import Any

import pytest

from streamproxy.domain.identity import Role
from streamproxy.domain.ports import User
from streamproxy.domain.streams import EndReason, Usage, UsageRecord
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.stores.sql.usagereport import SqlUsageReport
from streamproxy.stores.sql.users import SqlUsers

DAY = 86_400.0
BOB = User("u_bob", "bob", Role.USER, disabled=False)


def record(number: int, *, day: int, user_id: str, model: str, **fields: Any) -> UsageRecord:
    values = {
        "stream_id": f"st_{number}",
        "request_id": f"req_{number}",
        "user_id": user_id,
        "session_id": None,
        "endpoint": "/v1/chat/completions",
        "model": model,
        "upstream": "default",
        "key_last4": "abcd",
        "created": day * DAY + 5,
        "ttft_ms": 1,
        "duration_ms": 2,
        "chunks": 3,
        "attempts": 1,
        "usage": Usage(10, 20),
        "end_reason": EndReason.FINISH,
        "cost_nano_usd": 7,
    }
    return UsageRecord(**(values | fields))


@pytest.fixture
def report(database: Database) -> SqlUsageReport:
    return SqlUsageReport(database)


async def test_usage_is_summed_and_paged_by_day_user_and_model(
    report: SqlUsageReport, ledger: SqlLedger, users: SqlUsers
) -> None:
    await users.add(BOB)
    rows = [
        (1, "u_bob", "b"),
        (1, "u_bob", "b"),
        (1, "u_bob", "a"),
        (1, "g_guest", "a"),
        (2, "u_bob", "a"),
        (3, "u_bob", "a"),
    ]
    for number, (day, user_id, model) in enumerate(rows):
        await ledger.write(record(number, day=day, user_id=user_id, model=model), [])
    found = await report.page(first_day=1, last_day=2, user_id=None, after=None, limit=10)
    assert [(u.user_id, u.user_name, u.summary.day, u.summary.model, u.summary.streams) for u in found] == [
        ("g_guest", None, "1970-01-02", "a", 1),
        ("u_bob", "bob", "1970-01-02", "a", 1),
        ("u_bob", "bob", "1970-01-02", "b", 2),
        ("u_bob", "bob", "1970-01-03", "a", 1),
    ]
    both = found[2].summary
    assert (both.prompt_tokens, both.completion_tokens, both.estimated_streams, both.cost_nano_usd) == (20, 40, 0, 14)
    first = await report.page(first_day=1, last_day=2, user_id="u_bob", after=None, limit=1)
    rest = await report.page(first_day=1, last_day=2, user_id="u_bob", after=(1, "u_bob", "a"), limit=10)
    assert [*first, *rest] == [usage for usage in found if usage.user_id == "u_bob"]
