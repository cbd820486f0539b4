"""CONTRACTS A: the billing pages that NextChat (first form) and chatgpt-web (under /v1) read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.money import NANO
from streamproxy.stores.sql.connect import open_sql
from streamproxy.stores.sql.grants import SqlGrants
from tests.compat.conftest import Accounts
from tests.e2e.facts import until
from tests.support.http import Client
from tests.support.proxy import ProxyProcess
from tests.support.steps import completion_of, reply, tokens
from tests.support.upstream import ScriptedUpstream

FORMS = ("", "/v1")


def today() -> date:
    return datetime.now(UTC).date()


@pytest.fixture
def biller(io_loop: IOLoop, patient_proxy: ProxyProcess) -> Iterator[Client]:
    """A user of one's own, with 18 USD."""
    client = Client(patient_proxy.port, io_loop.run_sync(lambda: bearer_with_money(patient_proxy)))
    yield client
    client.close()
    patient_proxy.check_log()


async def bearer_with_money(proxy: ProxyProcess) -> str:
    database = await open_sql(proxy.database_url)
    accounts = Accounts(proxy, database)
    try:
        user = await accounts.user()
        await SqlGrants(database).add(f"g_{user.id}", user.id, 18 * NANO, 0.0)
        return await accounts.bearer(user)
    finally:
        accounts.auth.close()
        await database.close()


async def use(client: Client, upstream: ScriptedUpstream) -> None:
    """One answer of gpt-4o-mini: 0.15 USD of input and 0.60 of output, 75 cents in all."""
    before = await total_usage(client)
    upstream.once(reply(200, completion_of("Hi", usage=tokens(1_000_000, 1_000_000))))
    assert (await client.chat(stream=False)).status == 200
    # The row is written behind the answer.
    await until(lambda: grown(client, before), "the answer is paid")


async def total_usage(client: Client) -> float:
    return float((await client.ask("GET", "/dashboard/billing/usage")).json["total_usage"])


async def grown(client: Client, before: float) -> bool:
    return await total_usage(client) > before


@pytest.mark.parametrize("form", FORMS)
async def test_the_limit_is_what_was_granted(biller: Client, form: str) -> None:
    answer = await biller.ask("GET", f"{form}/dashboard/billing/subscription")
    assert answer.status == 200
    assert answer.json["hard_limit_usd"] == 18.0
    assert b'"hard_limit_usd":18.00' in answer.body
    assert answer.json["object"] == "billing_subscription"
    assert answer.json["access_until"] > datetime.now(UTC).timestamp()


async def test_usage_is_told_in_cents_by_day_and_model(biller: Client, upstream: ScriptedUpstream) -> None:
    """NextChat asks from the month's first to tomorrow, chatgpt-web to the month's last day."""
    began = today()
    for _ in range(2):
        await use(biller, upstream)
    ended = today()  # another day, when midnight came between
    first, tomorrow = began.replace(day=1), ended + timedelta(days=1)
    for form, end in itertools.product(FORMS, (tomorrow, ended)):
        answer = await biller.ask("GET", f"{form}/dashboard/billing/usage?start_date={first}&end_date={end}")
        assert (answer.status, answer.json["total_usage"]) == (200, 150.0)
        days = answer.json["daily_costs"]
        assert {datetime.fromtimestamp(day["timestamp"], UTC).date() for day in days} <= {began, ended}
        lines = [line for day in days for line in day["line_items"]]
        assert {line["name"] for line in lines} == {"gpt-4o-mini"}
        assert len(lines) == len(days)
        assert sum(line["cost"] for line in lines) == 150.0
    assert (await biller.ask("GET", "/dashboard/billing/usage")).json["total_usage"] == 150.0


async def test_usage_outside_the_dates_and_of_others_is_not_in_it(
    biller: Client, patient: Client, upstream: ScriptedUpstream
) -> None:
    await use(patient, upstream)
    own = await biller.ask("GET", "/dashboard/billing/usage")
    began = today()
    assert (own.json["total_usage"], own.json["daily_costs"]) == (0, [])
    await use(biller, upstream)
    past = f"start_date={began - timedelta(days=9)}&end_date={began - timedelta(days=1)}"
    assert (await biller.ask("GET", f"/dashboard/billing/usage?{past}")).json["total_usage"] == 0


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("start_date=yesterday", "start_date"),
        ("end_date=2025-02-30", "end_date"),
        ("start_date=0001-01-01", "start_date"),
        ("end_date=9999-12-31", "end_date"),
        ("start_date=2025-02-02&end_date=2025-02-01", "end_date"),
        ("start_date=2020-01-01&end_date=2025-01-01", "end_date"),
    ],
)
async def test_dates_that_are_none_are_400(patient: Client, query: str, param: str) -> None:
    answer = await patient.ask("GET", f"/dashboard/billing/usage?{query}")
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


@pytest.mark.parametrize("page", ["subscription", "usage"])
@pytest.mark.parametrize("form", FORMS)
async def test_the_pages_need_a_credential(patient: Client, form: str, page: str) -> None:
    answer = await patient.ask("GET", f"{form}/dashboard/billing/{page}", authorization="")
    assert (answer.status, answer.json["error"]["type"]) == (401, "authentication_error")
