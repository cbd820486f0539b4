"""Grants, costs and what counted, on both databases."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from streamproxy.domain.streams import EndReason
from streamproxy.services.auth import Authenticator
from streamproxy.services.billing import BALANCE_DAYS, DAY_SECONDS, Billing
from streamproxy.services.passwords import Passwords
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.credentials import SqlCredentials
from streamproxy.stores.sql.grants import SqlGrants
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.stores.sql.users import SqlUsers
from tests.stores.sql.test_ledger import DAY, contents, record, said

NOW = 20_000.0 * DAY
# Beyond what a double adds exactly.
LARGE = 2**53 + 1


@pytest.fixture
def grants(database: Database) -> SqlGrants:
    return SqlGrants(database)


async def account(database: Database) -> str:
    auth = Authenticator(
        SqlUsers(database), SqlCredentials(database), secret=b"s" * 32, passwords=Passwords.of("owasp")
    )
    try:
        return (await auth.add_user("bob")).id
    finally:
        auth.close()


async def test_grants_add_up_exactly_also_when_many_come_at_once(database: Database, grants: SqlGrants) -> None:
    user_id = await account(database)
    assert await grants.total(user_id) == 0
    await asyncio.gather(*(grants.add(f"g_{number}", user_id, LARGE, NOW) for number in range(10)))
    await grants.add("g_back", user_id, -1, NOW)
    assert await grants.total(user_id) == 10 * LARGE - 1
    assert await grants.total("nobody") == 0


async def test_what_was_used_is_what_the_last_hundred_days_cost(
    database: Database, grants: SqlGrants, ledger: SqlLedger
) -> None:
    user_id = await account(database)
    first = NOW - BALANCE_DAYS * DAY_SECONDS
    for number, created in enumerate((first - 0.001, first, NOW - 1)):
        await ledger.write(record(number, user_id=user_id, created=created, cost_nano_usd=40_000_000), [])
    await ledger.write(record(9, user_id="u_eve", created=NOW - 1, cost_nano_usd=LARGE), [])
    billing = Billing(ledger, grants, clock=lambda: NOW)
    await billing.grant(user_id, 18 * 10**9)
    balance = await billing.balance(user_id)
    assert [str(part) for part in (balance.total, balance.balance, balance.used)] == ["18.00", "17.92", "0.08"]


async def test_costs_are_summed_exactly_by_day_and_model(ledger: SqlLedger) -> None:
    for number in range(3):
        await ledger.write(record(number, created=NOW, cost_nano_usd=LARGE), [])
    await ledger.write(record(3, created=NOW + DAY, cost_nano_usd=7), [])
    assert [s.cost_nano_usd for s in await ledger.usage_by_day("u_bob", since=0)] == [3 * LARGE, 7]
    assert [s.cost_nano_usd for s in await ledger.usage_by_day("u_bob", since=NOW, until=NOW + DAY)] == [3 * LARGE]


async def test_remarks_are_questions_and_answers_only(ledger: SqlLedger) -> None:
    roles = ("system", "user", "tool", "assistant")
    texts = said(0, *roles)
    await ledger.write(record(0), [replace(message, role=role) for message, role in zip(texts, roles, strict=True)])
    assert contents(await ledger.remarks("u_bob", limit=5)) == ["user", "assistant"]
    assert contents(await ledger.remarks("u_bob", limit=1)) == ["assistant"]
    assert contents(await ledger.remarks("u_eve", limit=5)) == []


async def test_what_was_refunded_does_not_count(ledger: SqlLedger) -> None:
    """Counted is what began to be answered, and what the client left before that: as the limits do."""
    await ledger.write(record(0, created=NOW), [])
    await ledger.write(record(1, created=NOW, ttft_ms=None, end_reason=EndReason.UPSTREAM_ERROR), [])
    await ledger.write(record(2, created=NOW, ttft_ms=None, end_reason=EndReason.CLIENT_GONE), [])
    await ledger.write(record(3, created=NOW, endpoint="/elsewhere"), [])
    await ledger.write(record(4, created=NOW, user_id="u_eve"), [])
    await ledger.write(record(5, created=NOW + DAY), [])
    paths = ["/v1/chat/completions", "/other"]
    assert await ledger.accepted("u_bob", paths, since=NOW, until=NOW + DAY) == 2
