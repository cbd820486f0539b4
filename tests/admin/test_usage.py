"""/admin/usage counts as the command ``usage`` does, for everybody."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.admin.conftest import Caller
from tests.contract.shapes import assert_error
from tests.support.http import Client
from tests.support.upstream import ScriptedUpstream


async def test_usage_is_summed_by_day_user_and_model(admin: Client, caller: Caller, upstream: ScriptedUpstream) -> None:
    for model in ("scripted", "scripted", "gpt-4o-mini"):
        assert (await caller.chat(model=model)).text()
    # The ledger is written after the last frame; a stream is shown as running until it is.
    while (await admin.ask("GET", f"/admin/streams?user_id={caller.user_id}")).json["data"]:
        pass
    today = dt.datetime.now(dt.UTC).date().isoformat()
    page = (await admin.ask("GET", f"/admin/usage?user_id={caller.user_id}")).json
    assert [(row["model"], row["streams"]) for row in page["data"]] == [("gpt-4o-mini", 1), ("scripted", 2)]
    for row in page["data"]:
        assert row["object"] == "usage"
        assert row["day"] == today
        assert row["user_name"].startswith("someone-")
        assert row["id"] == f"{today}:{caller.user_id}:{row['model']}"
        assert row["prompt_tokens"] > 0
        assert row["completion_tokens"] > 0
        assert float(row["cost_usd"]) >= 0
    first = (await admin.ask("GET", f"/admin/usage?user_id={caller.user_id}&limit=1")).json
    assert first["has_more"] is True
    rest = (await admin.ask("GET", f"/admin/usage?user_id={caller.user_id}&after={first['last_id']}")).json
    assert first["data"] + rest["data"] == page["data"]


async def test_days_outside_are_not_counted(admin: Client) -> None:
    page = (await admin.ask("GET", "/admin/usage?from=1999-01-01&to=1999-12-31")).json
    assert page == {"object": "list", "data": [], "has_more": False, "last_id": None}


@pytest.mark.parametrize("field", ["from", "to"])
@pytest.mark.parametrize("value", ["yesterday", "2026-02-30", "2026-1-1", "", "20260101", "2026-01-01T00:00:00Z"])
async def test_what_is_no_day_is_a_400(admin: Client, field: str, value: str) -> None:
    assert assert_error(await admin.ask("GET", f"/admin/usage?{field}={value}"), 400)["param"] == field


@pytest.mark.parametrize("after", ["x", "2026-01-01", "2026-01-01:u", "today:u:m"])
async def test_a_page_after_nothing_is_a_404(admin: Client, after: str) -> None:
    assert assert_error(await admin.ask("GET", f"/admin/usage?after={after}"), 404)["code"] == "cursor_not_found"
