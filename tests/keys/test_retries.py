"""Attempts: at most three, a fifth of the traffic, told in the answer and in the usage row, never after an event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from sqlalchemy import select

from streamproxy.domain.retries import FLOOR, RETRY_SHARE, RETURN
from streamproxy.stores.sql.connect import open_sql
from streamproxy.stores.sql.models import usage
from tests.keys.conftest import NewProxy, error_code
from tests.support.http import Client
from tests.support.proxy import ProxyProcess, provider_keys
from tests.support.steps import done, drop, error_of, finish, reply, say
from tests.support.upstream import ScriptedUpstream

Caller = Callable[[ProxyProcess], Client]


@pytest.mark.gen_test(timeout=170)
async def test_attempts(new_proxy: NewProxy, caller: Caller, upstream: ScriptedUpstream) -> None:
    """One proxy for all of it: a start costs seconds."""
    proxy = new_proxy(*provider_keys(120))
    client = caller(proxy)
    began = time.monotonic()
    await _three_at_most_and_told(client, upstream)
    await _the_one_that_answers_is_told(client, upstream)
    await _none_after_a_relayed_event(client, upstream)
    await _a_fifth_of_the_traffic(client, upstream, began)
    rows = await _rows(proxy)
    assert rows[0] == (3, "default", "upstream_error", True)
    assert rows[1] == (3, "default", "upstream_error", True)
    assert rows[2] == (2, "default", None, True)
    assert rows[3] == (1, "default", "upstream_disconnected", True)


async def _three_at_most_and_told(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.script(reply(500, error_of("x")))
    for stream in (True, False):
        answer = await client.chat(stream=stream)
        assert (answer.status, answer.head.get("X-Streamproxy-Attempts")) == (502, "3")
    keys = [request.header("Authorization") for request in upstream.requests]
    assert [len(set(keys[:3])), len(set(keys[3:])), len(keys)] == [3, 3, 6]


async def _the_one_that_answers_is_told(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.once(reply(500, error_of("x")))
    upstream.script(say("fine"), finish(), done())
    answer = await client.chat()
    assert (answer.text(), answer.head.get("X-Streamproxy-Attempts")) == ("fine", "2")


async def _none_after_a_relayed_event(client: Client, upstream: ScriptedUpstream) -> None:
    asked = len(upstream.requests)
    upstream.script(say("half"), drop())
    answer = await client.chat()
    assert answer.head.get("X-Streamproxy-Attempts") == "1"
    assert b"upstream_disconnected" in answer.body
    assert len(upstream.requests) == asked + 1


async def _a_fifth_of_the_traffic(client: Client, upstream: ScriptedUpstream, began: float) -> None:
    asked = len(upstream.requests)
    upstream.script(reply(500, error_of("x")))
    answers = await asyncio.gather(*(client.chat() for _ in range(100)))
    assert {error_code(answer) for answer in answers} == {"upstream_error"}
    # What 104 requests have earned, the ten that nobody had to earn, and what came back meanwhile, less what was spent
    # above.
    allowed = RETRY_SHARE * 104 + FLOOR + RETURN * (time.monotonic() - began) - 5
    assert len(upstream.requests) - asked <= 100 + allowed


async def _rows(proxy: ProxyProcess) -> list[tuple[int, str, str | None, bool]]:
    database = await open_sql(proxy.database_url)
    query = select(usage.c.attempts, usage.c.upstream, usage.c.error_code, usage.c.key_last4)
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(usage.c.created))).all()
    await database.close()
    return [(attempts, upstream, error, len(last4) == 4) for attempts, upstream, error, last4 in rows]
