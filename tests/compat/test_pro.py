"""CONTRACTS C4: /pro."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select, text
from tornado.ioloop import IOLoop

from streamproxy.domain.ports import User
from streamproxy.services.billing import Billing
from streamproxy.stores.sql.grants import SqlGrants
from streamproxy.stores.sql.ledger import SqlLedger
from streamproxy.stores.sql.models import usage
from tests.compat.conftest import Accounts
from tests.compat.injections import INJECTIONS
from tests.e2e.facts import until
from tests.support.http import Client, Reply
from tests.support.proxy import ProxyProcess
from tests.support.steps import completion_of, done, error_of, event, finish, reply, say, tokens
from tests.support.upstream import ScriptedUpstream

PATH = "/pro/chat/completions"


@dataclass
class Pro:
    """A user with an API token, and how their program calls."""

    client: Client
    user: User
    api_key: str
    bearer: str

    def body(self, content: str = "你好", session: str = "s1", **fields: Any) -> dict[str, Any]:
        return {"apiKey": self.api_key, "sessionId": session, "content": content, **fields}

    async def ask(self, content: str = "你好", session: str = "s1", **fields: Any) -> Reply:
        return await self.client.ask("POST", PATH, self.body(content, session, **fields))

    async def balance(self) -> Reply:
        return await self.client.ask("GET", f"/pro/balance?apiKey={self.api_key}")


async def a_pro(client: Client, accounts: Accounts) -> Pro:
    user = await accounts.user()
    token, _ = await accounts.auth.issue_api_token(user)
    return Pro(client, user, token, await accounts.bearer(user))


@pytest.fixture
def pro(io_loop: IOLoop, anybody: Client, accounts: Accounts) -> Pro:
    made: Pro = io_loop.run_sync(lambda: a_pro(anybody, accounts))
    return made


@pytest.fixture
def former_pro(io_loop: IOLoop, former: Client, former_accounts: Accounts) -> Pro:
    """Where provider keys are let through, and a prompt token costs 0.001 USD, an answer's 0.002."""
    made: Pro = io_loop.run_sync(lambda: a_pro(former, former_accounts))
    return made


def assert_failed(answer: Reply, status: int) -> None:
    assert answer.status == status, answer.body
    assert sorted(answer.json) == ["code", "data", "message"]
    assert (answer.json["code"], answer.json["data"]) == (status, None)
    assert isinstance(answer.json["message"], str)


def texts(upstream: ScriptedUpstream) -> list[list[str]]:
    """The texts of each prompt that reached the upstream."""
    return [[message["content"] for message in request.json["messages"]] for request in upstream.requests]


# -- a good answer -------------------------------------------------------------------------------------


async def test_the_answer_has_code_message_and_data(pro: Pro, upstream: ScriptedUpstream) -> None:
    upstream.script(reply(200, completion_of("你好 🙂")))
    answer = await pro.ask()
    assert (answer.status, answer.json) == (200, {"code": 200, "message": "执行成功", "data": "你好 🙂"})
    assert upstream.requests[0].json["model"] == "gpt-3.5-turbo"


async def test_the_model_is_a_setting(former_pro: Pro, upstream: ScriptedUpstream) -> None:
    await former_pro.ask()
    assert upstream.requests[0].json["model"] == "scripted"


async def test_content_has_a_thousand_code_points(pro: Pro, upstream: ScriptedUpstream) -> None:
    assert (await pro.ask("🙂" * 1000)).json["data"] == "🙂" * 1000
    assert_failed(await pro.ask("🙂" * 1001), 400)
    assert len(upstream.requests) == 1


async def test_a_stream_is_that_of_the_openai_path(pro: Pro, upstream: ScriptedUpstream) -> None:
    answer = await pro.ask("one two", stream=True)
    assert answer.head.get("Content-Type") == "text/event-stream; charset=utf-8"
    assert answer.text() == "onetwo"
    await pro.ask("three")
    assert texts(upstream)[1] == ["one two", "onetwo", "three"]


# -- who calls -----------------------------------------------------------------------------------------


async def test_a_bearer_will_do_instead_of_the_api_key(pro: Pro, upstream: ScriptedUpstream) -> None:
    body = {"sessionId": "s1", "content": "two"}
    await pro.ask("one")
    for credential in (pro.bearer, pro.api_key):
        answer = await pro.client.ask("POST", PATH, body, authorization=f"Bearer {credential}")
        assert answer.json["data"] == "two"
    assert texts(upstream)[1] == ["one", "one", "two"], "both are the same owner"


async def test_bearer_and_api_key_must_agree(pro: Pro, accounts: Accounts, upstream: ScriptedUpstream) -> None:
    other = await a_pro(pro.client, accounts)
    good = await pro.client.ask("POST", PATH, pro.body(), authorization=f"Bearer {pro.bearer}")
    assert good.status == 200
    for authorization in (f"Bearer {other.bearer}", "Bearer wrong"):
        assert_failed(await pro.client.ask("POST", PATH, pro.body(), authorization=authorization), 401)
    assert_failed(
        await pro.client.ask("POST", PATH, pro.body(apiKey="wrong"), authorization=f"Bearer {pro.bearer}"), 401
    )
    path = f"/pro/balance?apiKey={pro.api_key}"
    assert_failed(await pro.client.ask("GET", path, authorization=f"Bearer {other.bearer}"), 401)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("api_key", [None, "", "wrong", "sk-sp-" + "A" * 43, "sk-provider-key-0123456789", *INJECTIONS])
async def test_who_is_nobody_is_401_and_reaches_no_upstream(
    pro: Pro, upstream: ScriptedUpstream, api_key: str | None
) -> None:
    assert_failed(await pro.ask(apiKey=api_key), 401)
    assert_failed(await pro.client.ask("GET", f"/pro/balance?apiKey={quote(api_key or '')}"), 401)
    assert upstream.requests == []


@pytest.mark.parametrize(
    "change",
    [
        {"sessionId": None},
        {"sessionId": ""},
        {"sessionId": "x" * 65},
        {"sessionId": 7},
        {"content": None},
        {"content": ""},
        {"content": ["text"]},
        {"stream": "yes"},
        {"apiKey": 7},
    ],
)
async def test_what_is_no_question_is_400_in_the_same_shape(
    pro: Pro, upstream: ScriptedUpstream, change: dict[str, Any]
) -> None:
    answer = await pro.client.ask("POST", PATH, pro.body() | change, authorization=f"Bearer {pro.bearer}")
    assert_failed(answer, 400)
    assert upstream.requests == []


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b"\xff", b"[" * 10_000])
async def test_what_is_no_json_is_400_in_the_same_shape(pro: Pro, body: bytes) -> None:
    assert_failed(await pro.client.ask("POST", PATH, body), 400)


async def test_every_other_error_has_the_same_shape(pro: Pro, upstream: ScriptedUpstream) -> None:
    assert_failed(await pro.client.ask("GET", PATH), 405)
    assert_failed(await pro.client.ask("POST", PATH, b"a=b", content_type="text/plain"), 415)
    assert_failed(await pro.client.ask("POST", PATH, b"x" * 2_000_000), 413)
    upstream.script(reply(500, error_of("planted")))
    answer = await pro.ask()
    assert_failed(answer, 502)
    assert b"planted" not in answer.body
    assert_failed(await pro.ask(stream=True), 502)


# -- sessions ------------------------------------------------------------------------------------------


async def test_a_session_belongs_to_its_owner_and_its_id(
    pro: Pro, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    other = await a_pro(pro.client, accounts)
    for who, content, session in [
        (pro, "a1", "s"),
        (other, "b1", "s"),
        (pro, "c1", "S"),
        (pro, "d1", " s"),
        (pro, "a2", "s"),
        (other, "b2", "s"),
    ]:
        await who.ask(content, session)
    assert texts(upstream) == [["a1"], ["b1"], ["c1"], ["d1"], ["a1", "a1", "a2"], ["b1", "b1", "b2"]]


@pytest.mark.parametrize("session", ["x" * 64, "会话 🙂", "a/b", "a:b{c}", *INJECTIONS[:3]])
async def test_a_session_id_may_be_any_text(pro: Pro, upstream: ScriptedUpstream, session: str) -> None:
    answers = [await pro.ask(content, session) for content in ("one", "two")]
    assert [answer.status for answer in answers] == [200, 200]
    assert texts(upstream)[1] == ["one", "one", "two"]


async def test_these_sessions_and_those_of_the_openai_path_never_meet(pro: Pro, upstream: ScriptedUpstream) -> None:
    await pro.ask("one", "shared")
    body = {"model": "scripted", "messages": [{"role": "user", "content": "two"}]}
    await pro.client.ask(
        "POST", "/v1/chat/completions", body, authorization=f"Bearer {pro.bearer}", x_session_id="shared"
    )
    await pro.ask("three", "shared")
    assert texts(upstream) == [["one"], ["two"], ["one", "one", "three"]]


# -- provider keys of the callers' own ------------------------------------------------------------------


def provider_key() -> str:
    return f"sk-own-{secrets.token_hex(12)}"


@asynccontextmanager
async def nowhere_kept(key: str, proxy: ProxyProcess, accounts: Accounts) -> AsyncIterator[None]:
    """AssertionError when *key*, or its last characters, are in the log or in any table after the block."""
    yield
    for trace in (key, key[-8:]):
        assert trace not in proxy.log()
        async with accounts.database.read() as connection:
            tables = (await connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))).scalars()
            for table in list(tables):
                rows = (await connection.execute(text(f'SELECT * FROM "{table}"'))).all()  # noqa: S608
                assert not [row for row in rows if any(trace in str(value) for value in row)], table
    async with accounts.database.read() as connection:
        last4 = (await connection.execute(select(usage.c.key_last4))).scalars().all()
    assert key[-4:] not in last4


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_provider_key_is_used_for_its_call_and_kept_nowhere(
    former_pro: Pro, former_proxy: ProxyProcess, former_accounts: Accounts, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    key = provider_key()
    async with nowhere_kept(key, former_proxy, former_accounts):
        answers = [await former_pro.ask(content, apiKey=key, stream=stream) for content in ("one", "two")]
        assert [answer.status for answer in answers] == [200, 200]
    assert [request.header("Authorization") for request in upstream.requests] == [f"Bearer {key}"] * 2
    assert texts(upstream)[1] == ["one", "one", "two"], "its owner has a context, too"
    assert upstream.requests[0].body.count(key.encode()) == 0


async def test_sessions_of_two_provider_keys_are_two(former_pro: Pro, upstream: ScriptedUpstream) -> None:
    for content in ("one", "two"):
        await former_pro.ask(content, apiKey=provider_key())
    assert texts(upstream) == [["one"], ["two"]]


async def test_a_bearer_says_who_brings_a_provider_key(
    former_pro: Pro, former_accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """The user's own context and history; what it costs is not ours to count."""
    key = provider_key()
    await former_pro.ask("one")
    await former_pro.client.ask(
        "POST", PATH, former_pro.body("two", apiKey=key), authorization=f"Bearer {former_pro.bearer}"
    )
    assert texts(upstream)[1] == ["one", "one", "two"]
    async with former_accounts.database.read() as connection:
        query = select(usage.c.key_id, usage.c.cost_nano_usd).where(usage.c.user_id == former_pro.user.id)
        rows = (await connection.execute(query.order_by(usage.c.created))).all()
    assert [(row.key_id == "own", row.cost_nano_usd > 0) for row in rows] == [(False, True), (True, False)]


async def test_a_refused_provider_key_is_its_owners_trouble(
    former_pro: Pro, former_proxy: ProxyProcess, former_accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """401 for them, no other key is tried, and the pool's own key stays in use."""
    key = provider_key()
    upstream.once(reply(401, error_of(f"Incorrect API key provided: {key}", code="invalid_api_key")))
    async with nowhere_kept(key, former_proxy, former_accounts):
        answer = await former_pro.ask(apiKey=key)
    assert_failed(answer, 401)
    assert key.encode() not in answer.body
    assert len(upstream.requests) == 1
    upstream.once(reply(429, error_of("You exceeded your current quota", code="insufficient_quota")))
    assert_failed(await former_pro.ask(apiKey=key), 429)
    assert (await former_pro.ask()).status == 200


@pytest.mark.parametrize("api_key", ["sk-sp-" + "A" * 43, "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "short", "sk-\r\nX: y-1234"])
async def test_what_looks_like_ours_or_fits_no_header_is_never_sent_on(
    former_pro: Pro, upstream: ScriptedUpstream, api_key: str
) -> None:
    assert_failed(await former_pro.ask(apiKey=api_key), 401)
    assert upstream.requests == []


async def test_the_balance_of_a_provider_key_is_not_ours_to_tell(former_pro: Pro) -> None:
    assert_failed(await former_pro.client.ask("GET", f"/pro/balance?apiKey={provider_key()}"), 401)


# -- balance -------------------------------------------------------------------------------------------


async def grant(accounts: Accounts, user: User, nano_usd: int) -> None:
    await Billing(SqlLedger(accounts.database), SqlGrants(accounts.database), clock=lambda: 0.0).grant(
        user.id, nano_usd
    )


async def test_the_balance_is_what_was_granted_less_what_was_used(
    former_pro: Pro, former_accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """The contract's own numbers, two places each: 20 x 0.001 + 30 x 0.002 USD."""
    await grant(former_accounts, former_pro.user, 18 * 10**9)
    upstream.script(reply(200, completion_of("hello", usage=tokens(20, 30))))
    await former_pro.ask()
    answer = await former_pro.balance()
    assert answer.status == 200
    assert answer.body.decode() == (
        '{"code":200,"message":"执行成功","data":{"total":18.00,"balance":17.92,"used":0.08}}'
    )
    for authorization in (f"Bearer {former_pro.bearer}", f"Bearer {former_pro.api_key}"):
        by_header = await former_pro.client.ask("GET", "/pro/balance", authorization=authorization)
        assert by_header.body == answer.body


async def test_used_is_what_was_used_in_the_last_hundred_days(
    former_pro: Pro, former_accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    await grant(former_accounts, former_pro.user, 18 * 10**9)
    upstream.script(reply(200, completion_of("hello", usage=tokens(20, 30))))
    await former_pro.ask()
    await former_accounts.age_usage(former_pro.user, days=99)
    assert (await former_pro.balance()).json["data"] == {"total": 18.0, "balance": 17.92, "used": 0.08}
    await former_accounts.age_usage(former_pro.user, days=2)
    assert (await former_pro.balance()).json["data"] == {"total": 18.0, "balance": 18.0, "used": 0.0}


async def test_cached_input_has_its_own_price(former_pro: Pro, upstream: ScriptedUpstream) -> None:
    spent = {**tokens(100, 0), "prompt_tokens_details": {"cached_tokens": 60}}
    upstream.script(reply(200, completion_of("hello", usage=spent)))
    await former_pro.ask()
    assert (await former_pro.balance()).json["data"]["used"] == 0.07


async def test_a_streamed_answer_costs_the_same(former_pro: Pro, upstream: ScriptedUpstream) -> None:
    last = event({"choices": [], "usage": tokens(20, 30)})
    upstream.script(say("hello"), finish(), last, done())
    await former_pro.ask(stream=True)

    async def paid() -> bool:
        data: dict[str, float] = (await former_pro.balance()).json["data"]
        return data == {"total": 0.0, "balance": -0.08, "used": 0.08}

    # The row is written behind the end of the stream.
    await until(paid, "20 tokens of input and 30 of output are paid")


async def test_thirty_calls_at_once_are_all_paid(former_pro: Pro, upstream: ScriptedUpstream) -> None:
    upstream.script(reply(200, completion_of("hello", usage=tokens(1, 2))))
    answers = await asyncio.gather(*(former_pro.ask("Hi", f"s{number}") for number in range(30)))
    assert {answer.status for answer in answers} == {200}
    assert (await former_pro.balance()).json["data"]["used"] == 0.15


async def test_an_api_key_in_the_query_is_in_no_log(pro: Pro, compat_proxy: ProxyProcess) -> None:
    assert (await pro.balance()).status == 200
    await pro.client.ask("GET", "/pro/balance?apiKey=sk-planted-query-0123456789")
    await pro.ask(apiKey="sk-planted-body-0123456789")
    log = compat_proxy.log()
    assert "/pro/balance" in log
    assert pro.api_key not in log
    assert "planted-query" not in log
    assert "planted-body" not in log
