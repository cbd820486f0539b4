"""CONTRACTS C2: ChatAPI, POST /token with ``{"u", "p"}`` and GET /api?q=."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import jwt
import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.ports import User
from streamproxy.services.bearers import Bearers, Kind
from tests.compat.conftest import Accounts
from tests.compat.injections import INJECTIONS
from tests.support.http import Client, Reply
from tests.support.proxy import ProxyProcess
from tests.support.steps import Step, completion_of, drop, echo, error_of, gate, reply, stall
from tests.support.upstream import ScriptedUpstream

WRONG = {"statu": False, "message": "Invalid username or password"}
UNKNOWN = {"statu": False, "message": "Token does not exist. Please contact the administrator to apply."}
LIMIT_REACHED = {"statu": False, "message": "Token access limit reached."}
THIRTY_DAYS = 30 * 86400


@dataclass
class Caller:
    """One user with a password, and what their program sends."""

    client: Client
    user: User
    password: str
    token: str = ""

    async def sign_in(self, **changes: object) -> Reply:
        return await self.client.ask("POST", "/token", {"u": self.user.name, "p": self.password, **changes})

    async def api(self, q: str = "hello", *, token: str | None = None) -> Reply:
        authorization = f"Bearer {self.token if token is None else token}"
        return await self.client.ask("GET", f"/api?{urlencode({'q': q})}", authorization=authorization)


async def _caller(client: Client, accounts: Accounts) -> Caller:
    password = f"pa55 wörd-{secrets.token_hex(8)}"
    return Caller(client, await accounts.user(password=password), password)


async def _holder(client: Client, accounts: Accounts) -> Caller:
    user = await accounts.user()
    return Caller(client, user, "", await accounts.chatapi_token(user))


@pytest.fixture
def caller(io_loop: IOLoop, anybody: Client, accounts: Accounts) -> Caller:
    """Has a password and has not asked for a token yet."""
    made: Caller = io_loop.run_sync(lambda: _caller(anybody, accounts))
    return made


@pytest.fixture
def holder(io_loop: IOLoop, anybody: Client, accounts: Accounts, upstream: ScriptedUpstream) -> Caller:
    """Has a token, and no password: hashing one takes longer than most of these tests."""
    made: Caller = io_loop.run_sync(lambda: _holder(anybody, accounts))
    return made


# -- POST /token -------------------------------------------------------------------------------------------


async def test_the_first_sign_in_is_a_201_and_the_next_a_200_with_the_same_bytes(caller: Caller) -> None:
    first = await caller.sign_in()
    assert first.status == 201
    assert first.json["statu"] is True
    assert set(first.json) == {"statu", "message"}
    assert set(first.json["message"]) == {"username", "token", "expiration_time"}
    assert first.json["message"]["username"] == caller.user.name
    for _ in range(3):
        again = await caller.sign_in()
        assert again.status == 200
        assert again.body == first.body


async def test_a_token_lives_for_thirty_days(caller: Caller) -> None:
    """The time that is told is the one that is signed, and counted from the signature."""
    told = (await caller.sign_in()).json["message"]
    claims = jwt.decode(told["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == THIRTY_DAYS
    assert told["expiration_time"] == datetime.fromtimestamp(claims["exp"], UTC).strftime("%Y-%m-%d %H:%M:%S")


async def test_times_are_told_in_the_configured_zone(former: Client, former_accounts: Accounts) -> None:
    told = (await (await _caller(former, former_accounts)).sign_in()).json["message"]
    expires = jwt.decode(told["token"], options={"verify_signature": False})["exp"]
    shanghai = datetime.fromtimestamp(expires, ZoneInfo("Asia/Shanghai"))
    assert told["expiration_time"] == shanghai.strftime("%Y-%m-%d %H:%M:%S")


async def test_of_thirty_first_calls_at_once_exactly_one_is_a_201(caller: Caller) -> None:
    answers = await asyncio.gather(*(caller.sign_in() for _ in range(30)))
    assert sorted(answer.status for answer in answers) == [200] * 29 + [201]
    assert len({answer.body for answer in answers}) == 1


async def test_an_expired_token_is_replaced(caller: Caller, accounts: Accounts, upstream: ScriptedUpstream) -> None:
    """With a 201, by exactly one of ten calls; the one before no longer opens anything."""
    old = (await caller.sign_in()).json["message"]["token"]
    await accounts.expire_bearers(caller.user, at=1.0)
    answers = await asyncio.gather(*(caller.sign_in() for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 9 + [201]
    (new,) = {answer.json["message"]["token"] for answer in answers}
    assert new != old
    assert (await caller.api(token=new)).status == 200
    refused = await caller.api(token=old)
    assert (refused.status, refused.json) == (401, UNKNOWN)


WRONG_BODIES: dict[str, Any] = {
    "wrong password": {"u": "NAME", "p": "wrong"},
    "unknown user": {"u": "nobody-of-that-name", "p": "PASSWORD"},
    "no p": {"u": "NAME"},
    "no u": {"p": "PASSWORD"},
    "nothing in it": {},
    "empty": {"u": "", "p": ""},
    "null": {"u": None, "p": None},
    "p a number": {"u": "NAME", "p": 1},
    "p true": {"u": "NAME", "p": True},
    "u a list": {"u": ["NAME"], "p": "PASSWORD"},
    "u an object": {"u": {"$ne": ""}, "p": {"$ne": ""}},
    "other case": {"U": "NAME", "P": "PASSWORD"},
    "a blank more": {"u": "NAME ", "p": "PASSWORD"},
    "a NUL more": {"u": "NAME\x00", "p": "PASSWORD"},
    "10,000 characters": {"u": "x" * 10_000, "p": "y" * 10_000},
    "a list": ["NAME", "PASSWORD"],
    "no JSON": b"u and p",
    "cut JSON": b'{"u": "x", "p"',
    "not UTF-8": b'{"u": "\xff", "p": "x"}',
    "deep JSON": b'{"u":' + b"[" * 5000,
    "no body": None,
}


def _filled(body: Any, caller: Caller) -> Any:
    """*body* with the caller's own name and password in their places."""
    if isinstance(body, str):
        return body.replace("NAME", caller.user.name).replace("PASSWORD", caller.password)
    if isinstance(body, list):
        return [_filled(item, caller) for item in body]
    if isinstance(body, dict):
        return {name: _filled(value, caller) for name, value in body.items()}
    return body


@pytest.mark.parametrize("body", WRONG_BODIES.values(), ids=WRONG_BODIES.keys())
async def test_what_is_wrong_or_missing_is_a_401(caller: Caller, body: Any) -> None:
    answer = await caller.client.ask("POST", "/token", _filled(body, caller))
    assert (answer.status, answer.json) == (401, WRONG)


@pytest.mark.parametrize("text", INJECTIONS)
async def test_sql_gets_nobody_a_token(caller: Caller, text: str) -> None:
    """The original handed one out for the first of these."""
    for body in ({"u": text, "p": text}, {"u": caller.user.name + text, "p": caller.password}, {"u": text, "p": "pw"}):
        answer = await caller.client.ask("POST", "/token", body)
        assert (answer.status, answer.json) == (401, WRONG)
    assert (await caller.sign_in(p=text)).json == WRONG


async def test_a_disabled_user_gets_no_token(caller: Caller, accounts: Accounts) -> None:
    await accounts.auth.disable(caller.user)
    assert (await caller.sign_in()).json == WRONG


async def test_a_user_without_a_password_gets_no_token(anybody: Client, accounts: Accounts) -> None:
    user = await accounts.user()
    for password in ("", "None", "null", user.id):
        answer = await anybody.ask("POST", "/token", {"u": user.name, "p": password})
        assert (answer.status, answer.json) == (401, WRONG)


async def test_passwords_are_kept_as_salted_hashes(caller: Caller, accounts: Accounts) -> None:
    kept = await accounts.users.by_id(caller.user.id)
    assert kept is not None
    assert (kept.password_hash or "").startswith("$argon2id$")
    assert caller.password not in (kept.password_hash or "")


async def test_another_method_and_a_large_body_are_refused_in_its_shape(caller: Caller) -> None:
    for answer, status in (
        (await caller.client.ask("GET", "/token"), 405),
        (await caller.sign_in(p="x" * 2_000_000), 413),
    ):
        assert answer.status == status
        assert answer.json["statu"] is False


# -- throttling --------------------------------------------------------------------------------------------


async def test_wrong_passwords_close_an_account_for_a_while(
    caller: Caller, anybody: Client, accounts: Accounts
) -> None:
    """Twenty of thirty at once are looked at; then the right one waits too, and another account does not."""
    other = await _caller(anybody, accounts)
    answers = await asyncio.gather(*(caller.sign_in(p=f"guess {n}") for n in range(30)))
    statuses = [answer.status for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (20, 10)
    refused = await caller.sign_in()
    assert refused.status == 429
    assert refused.json["statu"] is False
    assert 1 <= int(refused.head.get("Retry-After") or 0) <= 300
    assert (await other.sign_in()).status == 201


async def test_an_account_that_is_not_there_is_closed_just_the_same(anybody: Client) -> None:
    """Else the throttle would tell which accounts exist."""
    name = f"nobody-{secrets.token_hex(4)}"
    answers = [await anybody.ask("POST", "/token", {"u": name, "p": "guess"}) for _ in range(21)]
    assert [answer.status for answer in answers] == [401] * 20 + [429]


async def test_right_passwords_do_not_count(caller: Caller) -> None:
    """One more of them than wrong ones are allowed; then a wrong one is still looked at."""
    answers = await asyncio.gather(*(caller.sign_in() for _ in range(21)))
    assert {answer.status for answer in answers} == {200, 201}
    assert (await caller.sign_in(p="wrong")).status == 401


async def test_wrong_passwords_close_the_door_to_an_address(former: Client, former_accounts: Accounts) -> None:
    """Whatever accounts they were tried on. This proxy allows five."""
    caller = await _caller(former, former_accounts)
    answers = [await former.ask("POST", "/token", {"u": f"nobody-{n}", "p": "guess"}) for n in range(6)]
    assert [answer.status for answer in answers] == [401] * 5 + [429]
    refused = await caller.sign_in()
    assert refused.status == 429
    assert 1 <= int(refused.head.get("Retry-After") or 0) <= 300


# -- GET /api ----------------------------------------------------------------------------------------------


async def test_the_answer_is_the_text(holder: Caller, upstream: ScriptedUpstream) -> None:
    answer = await holder.api("你好, wie geht's & 100% + ü?")
    assert answer.status == 200
    assert answer.json == {"statu": True, "message": "你好, wie geht's & 100% + ü?"}
    assert upstream.requests[0].json == {
        "model": "gpt-3.5-turbo",
        "messages": [{"role": "user", "content": "你好, wie geht's & 100% + ü?"}],
        "stream": False,
    }


async def test_it_is_stateless(holder: Caller, upstream: ScriptedUpstream) -> None:
    await holder.api("one")
    authorization = f"Bearer {holder.token}"
    await holder.client.ask("GET", "/api?q=two", authorization=authorization, x_session_id="s1")
    answer = await holder.client.ask("GET", "/api?q=three", authorization=authorization, x_session_id="s1")
    assert [m["content"] for m in upstream.requests[-1].json["messages"]] == ["three"]
    assert answer.head.get("X-Session-Id") is None


QUERIES: dict[str, str] = {
    "missing": "/api",
    "of another name": "/api?Q=hi",
    "empty": "/api?q=",
    "blank": "/api?q=%20%09%0a",
    "over-long": "/api?q=" + "x" * 2001,
    "not UTF-8": "/api?q=%ff%fe",
}


@pytest.mark.parametrize("path", QUERIES.values(), ids=QUERIES.keys())
async def test_a_wrong_question_is_a_400_and_not_counted(holder: Caller, upstream: ScriptedUpstream, path: str) -> None:
    for _ in range(11):
        answer = await holder.client.ask("GET", path, authorization=f"Bearer {holder.token}")
        assert answer.status == 400
        assert answer.json["statu"] is False
        assert answer.json["message"]
    assert not upstream.requests
    assert (await holder.api()).status == 200


async def test_the_longest_question_is_answered(holder: Caller, upstream: ScriptedUpstream) -> None:
    assert (await holder.api("x" * 2000)).json == {"statu": True, "message": "x" * 2000}


async def test_model_length_and_limit_are_settings(
    former: Client, former_accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    holder = await _holder(former, former_accounts)
    assert (await holder.api("x" * 11)).status == 400
    for _ in range(2):
        assert (await holder.api("x" * 10)).status == 200
    assert upstream.requests[0].json["model"] == "scripted"
    assert (await holder.api("hi")).status == 429


@pytest.mark.parametrize("text", INJECTIONS)
async def test_sql_is_a_question_like_any_other(holder: Caller, upstream: ScriptedUpstream, text: str) -> None:
    assert (await holder.api(text)).json == {"statu": True, "message": text}
    answer = await holder.api(token=f"{holder.token}{quote(text)}")
    assert answer.status == 401
    assert set(answer.json) == {"msg"}


# -- credentials ----------------------------------------------------------------------------------------------

WRONG_CREDENTIALS: dict[str, str] = {
    "none": "",
    "Basic": "Basic dXNlcjpwYXNz",
    "no scheme": "TOKEN",
    "no token": "Bearer",
    "garbage": "Bearer garbage",
    "three parts of garbage": "Bearer a.b.c",
    "another signature": "Bearer HEAD.CLAIMS." + "A" * 43,
    "a part missing": "Bearer HEAD.CLAIMS",
    "a provider's key": "Bearer sk-0123456789abcdef0123456789abcdef",
    "10 kB": "Bearer " + "a" * 10_000,
    "not ASCII": "Bearer \xe4\xbd\xa0",
}


@pytest.mark.parametrize("credential", WRONG_CREDENTIALS.values(), ids=WRONG_CREDENTIALS.keys())
async def test_a_credential_that_is_none_is_a_401(holder: Caller, upstream: ScriptedUpstream, credential: str) -> None:
    """The original said 422 for some of them."""
    head, claims, _ = holder.token.split(".")
    sent = credential.replace("HEAD", head).replace("CLAIMS", claims).replace("TOKEN", holder.token)
    answer = await holder.client.ask("GET", "/api?q=hi", authorization=sent)
    assert answer.status == 401
    assert set(answer.json) == {"msg"}
    assert answer.json["msg"]
    assert (answer.head.get("WWW-Authenticate") or "").startswith("Bearer")
    assert not upstream.requests


async def test_an_api_token_and_an_expired_token_are_401s_too(
    compat_proxy: ProxyProcess, holder: Caller, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    api_token, _ = await accounts.auth.issue_api_token(holder.user)
    expired, _ = Bearers(compat_proxy.secret.encode(), clock=lambda: 1000.0).sign(
        Kind.CHATAPI, holder.user.id, seconds=60
    )
    for credential in (api_token, expired):
        answer = await holder.api(token=credential)
        assert answer.status == 401
        assert set(answer.json) == {"msg"}
    assert not upstream.requests


async def test_only_the_stored_token_opens_it(
    compat_proxy: ProxyProcess, holder: Caller, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """Not a bearer of ``token issue``, which is good elsewhere, and not one that we signed and never kept."""
    bearer = await accounts.bearer(holder.user)
    unkept, _ = Bearers(compat_proxy.secret.encode(), clock=datetime.now(UTC).timestamp).sign(
        Kind.CHATAPI, holder.user.id, seconds=60
    )
    for token in (bearer, unkept):
        answer = await holder.api(token=token)
        assert (answer.status, answer.json) == (401, UNKNOWN)
    assert not upstream.requests
    models = await holder.client.ask("GET", "/v1/models", authorization=f"Bearer {bearer}")
    assert models.status == 200


async def test_it_opens_nothing_else(holder: Caller, upstream: ScriptedUpstream) -> None:
    """Else ten answers a day would be as many as one likes."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
    for path in ("/v1/chat/completions", "/message"):
        answer = await holder.client.ask("POST", path, body, authorization=f"Bearer {holder.token}")
        assert answer.status == 401
    assert not upstream.requests


async def test_a_revoked_token_and_a_disabled_user_are_told_apart_from_garbage(
    holder: Caller, anybody: Client, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    disabled = await _holder(anybody, accounts)
    await accounts.auth.disable(disabled.user)
    await accounts.auth.revoke_bearers(holder.user)
    for refused in (holder, disabled):
        answer = await refused.api()
        assert (answer.status, answer.json) == (401, UNKNOWN)
    assert not upstream.requests


# -- the day's limit ---------------------------------------------------------------------------------------


async def test_ten_answers_a_day(holder: Caller, upstream: ScriptedUpstream) -> None:
    for _ in range(10):
        assert (await holder.api()).status == 200
    answer = await holder.api()
    assert (answer.status, answer.json) == (429, LIMIT_REACHED)
    assert 1 <= int(answer.head.get("Retry-After") or 0) <= 86_400
    assert len(upstream.requests) == 10


async def test_of_thirty_at_once_exactly_ten_are_answered(holder: Caller, upstream: ScriptedUpstream) -> None:
    """The original answered all thirty. Here the answers wait until all others were refused."""
    opened = asyncio.Event()
    upstream.script(gate(opened), echo())
    waiting = {asyncio.create_task(holder.api()) for _ in range(30)}
    refused: set[asyncio.Task[Reply]] = set()
    while len(refused) < 20:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused |= done
    opened.set()
    assert all((task.result().status, task.result().json) == (429, LIMIT_REACHED) for task in refused)
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 10
    assert len(upstream.requests) == 10


FAILURES: dict[str, Step] = {
    "it fails": reply(500, error_of("Oops")),
    "it has too many requests": reply(429, error_of("Slow down", code="rate_limit_exceeded"), retry_after="1"),
    "our key is dead": reply(401, error_of("Incorrect API key", code="invalid_api_key")),
    "it says the question is wrong": reply(400, error_of("Wrong", kind="invalid_request_error")),
    "it is a web page": reply(200, b"<html></html>", content_type="text/html"),
    "it is empty": reply(200, {}),
    "it resets": drop(),
}


@pytest.mark.parametrize("script", FAILURES.values(), ids=FAILURES.keys())
async def test_an_upstream_that_fails_is_a_502_and_not_counted(
    holder: Caller, upstream: ScriptedUpstream, script: Step
) -> None:
    upstream.script(script)
    answer = await holder.api()
    assert answer.status == 502
    assert answer.json["statu"] is False
    assert answer.json["message"]
    upstream.script(echo())
    assert [(await holder.api()).status for _ in range(11)] == [200] * 10 + [429]


async def test_the_limit_is_the_users_and_not_the_tokens(
    holder: Caller, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    for _ in range(10):
        await holder.api()
    await accounts.auth.revoke_bearers(holder.user)
    new = await accounts.chatapi_token(holder.user)
    assert new != holder.token
    assert (await holder.api(token=new)).json == LIMIT_REACHED


async def test_a_caller_who_leaves_closes_the_upstream(holder: Caller, upstream: ScriptedUpstream) -> None:
    upstream.once(stall())
    connection = await holder.client.send("GET", "/api?q=hi", authorization=f"Bearer {holder.token}")
    request = await upstream.request()
    connection.leave()
    await request.left


# -- the log -----------------------------------------------------------------------------------------------


async def test_neither_question_nor_password_nor_token_is_logged(
    compat_proxy: ProxyProcess, caller: Caller, upstream: ScriptedUpstream
) -> None:
    words = [secrets.token_hex(8) for _ in range(3)]
    caller.token = (await caller.sign_in()).json["message"]["token"]
    await caller.api(f"a question about {words[0]}")
    upstream.once(reply(500, error_of("Oops")))
    await caller.api(f"a failing question about {words[1]}")
    await caller.client.ask("GET", f"/api?q={words[2]}&q=%ff", authorization=f"Bearer {caller.token}")
    log = compat_proxy.log()
    assert '"path":"/api"' in log
    for secret in (*words, caller.password, caller.token, caller.token.split(".")[1]):
        assert secret not in log


# -- the original's callers --------------------------------------------------------------------------------


async def test_the_articles_own_code_runs_unchanged(
    compat_proxy: ProxyProcess, caller: Caller, upstream: ScriptedUpstream
) -> None:
    """Python requests, as the article writes it, in a thread because it blocks."""
    upstream.script(reply(200, completion_of("I am a model.")))
    base = f"http://127.0.0.1:{compat_proxy.port}"
    assert await asyncio.to_thread(_article, base, caller.user.name, caller.password) == "I am a model."


def _article(base_url: str, username: str, password: str) -> str:
    import requests

    # Get the token
    url = base_url + "/token"
    data = {"u": username, "p": password}
    response = requests.post(url, json=data)  # noqa: S113 - as it was
    if response.status_code not in (200, 201):
        raise RuntimeError(response.json()["message"])
    result = response.json()
    assert result["statu"]
    token = result["message"]["token"]

    # Ask
    headers = {"Authorization": "Bearer " + token}
    params = {"q": "Who are you?"}
    response = requests.get(base_url + "/api", headers=headers, params=params)  # noqa: S113 - as it was
    result = response.json()
    if not result["statu"]:
        raise RuntimeError(result["message"])
    return str(result["message"])
