"""CONTRACTS C1: POST /message."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.ports import User
from streamproxy.services.questions import ANY_NUMBER
from streamproxy.stores.sql.ledger import SqlLedger
from tests.compat.conftest import Accounts
from tests.compat.injections import INJECTIONS
from tests.support.http import Client, Connection, Reply
from tests.support.proxy import ProxyProcess
from tests.support.steps import Step, completion_of, drop, echo, error_of, gate, reply, stall
from tests.support.upstream import ScriptedUpstream

NO_KEY = "服务器快冒烟了,等会再试"
NO_KEY_AND_NO_WORD = "服务器快Boom了,先缓一缓"
UPSTREAM_FAILED = "官方请求错误,稍后再试"
FAILED = "openai官方请求错误,请稍后重试"
USED_UP = "次数已用完"

DEAD_KEY = reply(401, error_of("Incorrect API key provided", code="invalid_api_key"))


@dataclass
class Caller:
    """One user with an openid, and what their program sends."""

    client: Client
    user: User
    bearer: str

    def body(self, text: str = "你好", **fields: Any) -> dict[str, Any]:
        return {"msg": text, "openid": self.user.openid, "msgcache": "", **fields}

    async def ask(self, text: str = "你好", **fields: Any) -> Reply:
        return await self.post(self.body(text, **fields))

    async def post(self, body: object, **headers: str) -> Reply:
        return await self.client.ask("POST", "/message", body, **{"authorization": f"Bearer {self.bearer}", **headers})

    async def send(self, text: str = "你好") -> Connection:
        authorization = f"Bearer {self.bearer}"
        return await self.client.send("POST", "/message", self.body(text), authorization=authorization)


async def _caller(client: Client, accounts: Accounts, questions: int | None = 100) -> Caller:
    user = await accounts.user(openid=f"o{secrets.token_hex(12)}", questions=questions)
    return Caller(client, user, await accounts.bearer(user))


@pytest.fixture
def caller(io_loop: IOLoop, anybody: Client, accounts: Accounts) -> Caller:
    made: Caller = io_loop.run_sync(lambda: _caller(anybody, accounts))
    return made


def assert_failed(answer: Reply, status: int, errinfo: str) -> None:
    assert answer.json == {"adj": "接口执行错误", "code": 444, "errinfo": errinfo}
    assert answer.status == status
    assert (answer.head.get("Content-Type") or "").startswith("application/json")
    assert answer.head.get("X-Request-Id")


# -- a good answer -------------------------------------------------------------------------------------


async def test_the_answer_is_the_upstreams_object_with_the_choices_of_a_text_completion(
    caller: Caller, upstream: ScriptedUpstream
) -> None:
    upstream.script(reply(200, completion_of("你好!", system_fingerprint="fp_1", service_tier="default")))
    answer = await caller.ask()
    expected = completion_of("你好!", system_fingerprint="fp_1", service_tier="default")
    assert answer.status == 200
    assert answer.json == {"resmsg": {**expected, "choices": [{"text": "你好!"}]}, "num": 99, "code": 200}


async def test_the_upstream_is_asked_as_the_original_asked(caller: Caller, upstream: ScriptedUpstream) -> None:
    """gpt-3.5-turbo, temperature 0.8, max_tokens 2048; nothing of what identifies the caller."""
    await caller.ask("What is SSE?")
    (request,) = upstream.requests
    assert request.json == {
        "model": "gpt-3.5-turbo",
        "temperature": 0.8,
        "max_tokens": 2048,
        "messages": [{"role": "user", "content": "What is SSE?"}],
        "stream": False,
    }
    assert caller.user.openid
    assert caller.user.openid.encode() not in request.body


@pytest.mark.parametrize("msgcache", ["Q:1\nA:2\n", None, 7, ["x"], {"role": "system"}])
async def test_msgcache_is_ignored(caller: Caller, upstream: ScriptedUpstream, msgcache: object) -> None:
    answer = await caller.ask("hello", msgcache=msgcache)
    assert answer.json["resmsg"]["choices"] == [{"text": "hello"}]
    assert upstream.requests[0].json["messages"] == [{"role": "user", "content": "hello"}]


async def test_model_temperature_and_length_are_settings(
    former: Client, former_accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    caller = await _caller(former, former_accounts)
    assert (await caller.ask()).status == 200
    asked = upstream.requests[0].json
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("scripted", 0.25, 77)


async def test_the_time_limit_is_a_setting(
    former: Client, former_accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """The upstream would be silent for ever: it is left, and the question is given back."""
    upstream.script(stall())
    caller = await _caller(former, former_accounts, questions=3)
    assert_failed(await caller.ask(), 200, UPSTREAM_FAILED)
    await (await upstream.request()).left
    assert await former_accounts.left(caller.user) == 3


async def test_a_turn_is_in_the_history_and_its_key_has_one_call_more(
    former: Client, former_accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """And a call that failed is neither. This proxy has one key."""
    caller = await _caller(former, former_accounts)
    ledger = SqlLedger(former_accounts.database)
    await caller.ask("ping")
    history = [(role, json.loads(message)["content"]) for role, message in await former_accounts.history(caller.user)]
    assert history == [("user", "ping"), ("assistant", "ping")]
    ((endpoint, key, reason),) = await former_accounts.used(caller.user)
    assert (endpoint, reason) == ("/message", "finish")
    before = (await ledger.calls([key]))[key]
    await caller.ask("pong")
    upstream.once(reply(400, error_of("Wrong", kind="invalid_request_error")))
    await caller.ask("failing")
    assert await ledger.calls([key]) == {key: before + 1}
    assert len(await former_accounts.history(caller.user)) == 4


# -- who asks ----------------------------------------------------------------------------------------------


async def test_an_openid_is_no_credential(caller: Caller, upstream: ScriptedUpstream) -> None:
    answer = await caller.post(caller.body(), authorization="")
    assert_failed(answer, 401, FAILED)
    assert (answer.head.get("WWW-Authenticate") or "").startswith("Bearer")
    assert not upstream.requests


async def test_the_openid_must_be_the_callers_own(
    caller: Caller, anybody: Client, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """An unknown one and another user's are refused alike, and neither loses a question."""
    other = await _caller(anybody, accounts, questions=5)
    for openid in ("o-nobody", str(other.user.openid), str(caller.user.openid) + " ", "O" + str(caller.user.openid)):
        assert_failed(await caller.post(caller.body(openid=openid)), 401, FAILED)
    assert not upstream.requests
    assert (await accounts.left(caller.user), await accounts.left(other.user)) == (100, 5)


async def test_a_user_without_an_openid_has_no_way_in(
    anybody: Client, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    user = await accounts.user(questions=5)
    bearer = await accounts.bearer(user)
    for openid in ("None", "null", user.id, user.name):
        body = {"msg": "hi", "openid": openid}
        assert_failed(await anybody.ask("POST", "/message", body, authorization=f"Bearer {bearer}"), 401, FAILED)
    assert not upstream.requests


async def test_an_api_token_is_as_good_as_a_bearer(
    caller: Caller, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    text, _ = await accounts.auth.issue_api_token(caller.user)
    assert (await caller.post(caller.body(), authorization=f"Bearer {text}")).json["num"] == 99


async def test_the_openid_is_believed_where_the_setting_says_so(
    former: Client, former_accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """An unknown one and a disabled user's still never reach the upstream."""
    caller = await _caller(former, former_accounts, questions=5)
    assert (await caller.post(caller.body(), authorization="")).json["num"] == 4
    assert len(upstream.requests) == 1
    assert_failed(await caller.post(caller.body(openid="o-nobody"), authorization=""), 200, FAILED)
    await former_accounts.auth.disable(caller.user)
    assert_failed(await caller.post(caller.body(), authorization=""), 200, FAILED)
    assert len(upstream.requests) == 1


# -- errors ------------------------------------------------------------------------------------------------

WRONG_BODIES: dict[str, Any] = {
    "no msg": {"openid": "OPENID"},
    "no openid": {"msg": "hi"},
    "empty msg": {"msg": "", "openid": "OPENID"},
    "empty openid": {"msg": "hi", "openid": ""},
    "msg a number": {"msg": 1, "openid": "OPENID"},
    "msg null": {"msg": None, "openid": "OPENID"},
    "openid a list": {"msg": "hi", "openid": ["OPENID"]},
    "openid too long": {"msg": "hi", "openid": "o" * 129},
    "conversationid empty": {"msg": "hi", "openid": "OPENID", "conversationid": ""},
    "conversationid too long": {"msg": "hi", "openid": "OPENID", "conversationid": "c" * 65},
    "conversationid with a blank": {"msg": "hi", "openid": "OPENID", "conversationid": "a b"},
    "conversationid with a line end": {"msg": "hi", "openid": "OPENID", "conversationid": "a\n"},
    "conversationid not ASCII": {"msg": "hi", "openid": "OPENID", "conversationid": "对话"},
    "conversationid a number": {"msg": "hi", "openid": "OPENID", "conversationid": 7},
    "a list": [],
    "no JSON": b"msg=hi&openid=x",
    "nothing": b"",
    "cut JSON": b'{"msg": "hi", "openid"',
    "not UTF-8": b'{"msg": "\xff", "openid": "x"}',
    "deep JSON": b'{"msg": ' + b"[" * 5000,
}


@pytest.mark.parametrize("body", WRONG_BODIES.values(), ids=WRONG_BODIES.keys())
async def test_a_wrong_body_is_a_400(
    caller: Caller, accounts: Accounts, upstream: ScriptedUpstream, body: object
) -> None:
    sent = body
    if isinstance(body, dict) and body.get("openid") == "OPENID":
        sent = {**body, "openid": caller.user.openid}
    assert_failed(await caller.post(sent), 400, FAILED)
    assert not upstream.requests
    assert await accounts.left(caller.user) == 100


FAILURES: dict[str, tuple[Step, int, str]] = {
    "key invalid": (DEAD_KEY, 502, NO_KEY),
    "key deactivated": (reply(401, error_of("Deactivated", code="account_deactivated")), 502, NO_KEY),
    "out of quota": (
        reply(429, error_of("You exceeded your current quota", code="insufficient_quota", kind="insufficient_quota")),
        502,
        NO_KEY,
    ),
    "key invalid, no word": (reply(401, error_of("", code="invalid_api_key")), 502, NO_KEY_AND_NO_WORD),
    "out of quota, no word": (
        reply(429, error_of("", code="insufficient_quota", kind="insufficient_quota")),
        502,
        NO_KEY_AND_NO_WORD,
    ),
    "it is wrong": (reply(400, error_of("Unknown field", kind="invalid_request_error")), 400, UPSTREAM_FAILED),
    "it fails": (reply(500, error_of("Oops")), 502, UPSTREAM_FAILED),
    "it is a web page": (reply(502, b"<html>Bad gateway</html>", content_type="text/html"), 502, UPSTREAM_FAILED),
    "it is no JSON": (reply(200, b"hello"), 502, UPSTREAM_FAILED),
    "it is no UTF-8": (reply(200, b'{"choices":[{"message":{"content":"\xff"}}]}'), 502, UPSTREAM_FAILED),
    "it has a number that is none": (
        reply(200, b'{"choices":[{"message":{"content":"a"},"logprobs":-1e999}]}'),
        502,
        UPSTREAM_FAILED,
    ),
    "it is empty": (reply(200, {"object": "chat.completion"}), 502, UPSTREAM_FAILED),
    "it resets": (drop(), 502, UPSTREAM_FAILED),
}


@pytest.mark.parametrize(("script", "status", "errinfo"), FAILURES.values(), ids=FAILURES.keys())
async def test_each_failure_has_its_text_and_gives_the_question_back(
    caller: Caller, accounts: Accounts, upstream: ScriptedUpstream, script: Step, status: int, errinfo: str
) -> None:
    upstream.script(script)
    assert_failed(await caller.ask(), status, errinfo)
    assert await accounts.left(caller.user) == 100


async def test_an_upstream_that_has_too_many_requests_is_not_the_callers_429(
    caller: Caller, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """429 says here that the questions are used up: a busy upstream is a 503 that says when to come back."""
    upstream.script(reply(429, error_of("Rate limit reached", code="rate_limit_exceeded"), retry_after="1"))
    answer = await caller.ask()
    assert_failed(answer, 503, UPSTREAM_FAILED)
    assert int(answer.head.get("Retry-After") or 0) >= 1
    assert await accounts.left(caller.user) == 100


async def test_every_error_is_a_200_where_the_setting_says_so(
    former: Client, former_accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    caller = await _caller(former, former_accounts, questions=1)
    assert_failed(await caller.post({"openid": caller.user.openid}), 200, FAILED)
    upstream.once(reply(400, error_of("Wrong", kind="invalid_request_error")))
    assert_failed(await caller.ask(), 200, UPSTREAM_FAILED)
    assert (await caller.ask()).json["num"] == 0
    assert_failed(await caller.ask(), 200, USED_UP)
    assert_failed(await former.ask("GET", "/message"), 200, FAILED)


async def test_another_method_is_refused_in_the_same_shape(caller: Caller) -> None:
    authorization = f"Bearer {caller.bearer}"
    answer = await caller.client.ask("GET", "/message", authorization=authorization)
    assert_failed(answer, 405, FAILED)
    assert_failed(await caller.ask("x" * 2_000_000), 413, FAILED)


# -- keys --------------------------------------------------------------------------------------------------


async def test_a_dead_key_is_disabled_and_another_one_answers(
    compat_proxy: ProxyProcess, caller: Caller, upstream: ScriptedUpstream
) -> None:
    # The tests before may have used up the retries of this proxy: a fifth of the requests may be asked again.
    for _ in range(6):
        await caller.ask("before")
    upstream.requests.clear()
    upstream.once(DEAD_KEY)
    answer = await caller.ask("hello")
    assert answer.json["resmsg"]["choices"] == [{"text": "hello"}]
    assert answer.json["num"] == 93
    first, second = (request.header("Authorization") or "" for request in upstream.requests)
    assert first != second
    await asyncio.gather(*(caller.ask() for _ in range(20)))
    assert [request.header("Authorization") for request in upstream.requests].count(first) == 1


async def test_an_empty_pool_is_a_clear_503(
    message_only: Client, message_accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """The call that loses the last key is told of it; the next ones no longer reach the upstream."""
    caller = await _caller(message_only, message_accounts, questions=5)
    upstream.script(reply(401, error_of("", code="invalid_api_key")))
    assert_failed(await caller.ask(), 503, NO_KEY_AND_NO_WORD)
    for _ in range(2):
        answer = await caller.ask()
        assert_failed(answer, 503, NO_KEY)
        assert int(answer.head.get("Retry-After") or 0) >= 1
    assert len(upstream.requests) == 1
    assert await message_accounts.left(caller.user) == 5


async def test_families_that_are_not_served_are_not_there(message_only: Client, upstream: ScriptedUpstream) -> None:
    for method, path in (("GET", "/api?q=hi"), ("POST", "/token")):
        answer = await message_only.ask(method, path, {} if method == "POST" else None)
        assert answer.status == 404
        assert answer.json["error"]["code"] == "not_found"


# -- questions left ----------------------------------------------------------------------------------------


async def test_questions_are_counted_down_to_none(
    anybody: Client, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    caller = await _caller(anybody, accounts, questions=3)
    assert [(await caller.ask()).json["num"] for _ in range(3)] == [2, 1, 0]
    answer = await caller.ask()
    assert_failed(answer, 429, USED_UP)
    assert int(answer.head.get("Retry-After") or 0) >= 1
    assert len(upstream.requests) == 3
    assert await accounts.left(caller.user) == 0


async def test_thirty_at_once_are_told_thirty_numbers(
    anybody: Client, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """The original moved from 8 to 6 for 20 calls."""
    caller = await _caller(anybody, accounts, questions=30)
    answers = await asyncio.gather(*(caller.ask() for _ in range(30)))
    assert sorted(answer.json["num"] for answer in answers) == list(range(30))
    assert await accounts.left(caller.user) == 0


async def test_thirty_at_once_get_no_more_than_there_are(
    anybody: Client, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """The original went negative and still served. The answers wait until all others were refused."""
    caller = await _caller(anybody, accounts, questions=10)
    opened = asyncio.Event()
    upstream.script(gate(opened), echo())
    waiting = {asyncio.create_task(caller.ask()) for _ in range(30)}
    refused: set[asyncio.Task[Reply]] = set()
    while len(refused) < 20:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused |= done
    opened.set()
    for task in refused:
        assert_failed(task.result(), 429, USED_UP)
    answers = await asyncio.gather(*waiting)
    assert sorted(answer.json["num"] for answer in answers) == list(range(10))
    assert len(upstream.requests) == 10
    assert await accounts.left(caller.user) == 0


async def test_what_fails_between_neither_costs_a_question_nor_repeats_a_number(
    caller: Caller, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    wrong = reply(400, error_of("Wrong", kind="invalid_request_error"))
    for number in range(30):
        upstream.once(wrong if number % 3 == 0 else echo())
    answers = await asyncio.gather(*(caller.ask() for _ in range(30)))
    told = [answer.json["num"] for answer in answers if answer.status == 200]
    assert sorted(told) == list(range(80, 100))
    assert await accounts.left(caller.user) == 80


async def test_a_caller_who_leaves_keeps_the_question(
    anybody: Client, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """It is the only one, so the next call succeeds only when it was given back."""
    caller = await _caller(anybody, accounts, questions=1)
    upstream.once(stall())
    connection = await caller.send()
    request = await upstream.request()
    connection.leave()
    await request.left
    while (answer := await caller.ask()).status == 429:
        assert_failed(answer, 429, USED_UP)
    assert answer.json["num"] == 0


async def test_an_account_without_a_number_asks_any_number(
    anybody: Client, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    """``user add`` without --questions. Callers compare the number with 0, so it is one, and large."""
    caller = await _caller(anybody, accounts, questions=None)
    assert [(await caller.ask()).json["num"] for _ in range(3)] == [ANY_NUMBER] * 3
    assert await accounts.left(caller.user) is None


# -- conversations -----------------------------------------------------------------------------------------


def _contents(upstream: ScriptedUpstream) -> list[str]:
    """What the upstream was sent last."""
    return [message["content"] for message in upstream.requests[-1].json["messages"]]


async def test_the_conversationid_selects_the_session(caller: Caller, upstream: ScriptedUpstream) -> None:
    """Of the answer's header fields none tells the inner name of it."""
    await caller.ask("one", conversationid="c1")
    answer = await caller.ask("two", conversationid="c1")
    assert _contents(upstream) == ["one", "one", "two"]
    assert answer.head.get("X-Session-Id") is None
    await caller.ask("three", conversationid="c2")
    assert _contents(upstream) == ["three"]


async def test_without_a_conversationid_there_is_no_context(caller: Caller, upstream: ScriptedUpstream) -> None:
    await caller.ask("one")
    await caller.ask("two", conversationid=None)
    assert _contents(upstream) == ["two"]


async def test_the_same_conversationid_of_another_is_another_conversation(
    caller: Caller, anybody: Client, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    other = await _caller(anybody, accounts)
    await caller.ask("mine", conversationid="c1")
    await other.ask("theirs", conversationid="c1")
    assert _contents(upstream) == ["theirs"]


async def test_a_conversation_and_a_session_of_one_name_are_two(caller: Caller, upstream: ScriptedUpstream) -> None:
    """Whatever either is called: no conversationid names a session of /v1, and the other way round."""
    authorization = f"Bearer {caller.bearer}"
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "secret"}]}
    await caller.client.ask("POST", "/v1/chat/completions", body, authorization=authorization, x_session_id="s1")
    for conversation in ("s1", "/s1", "../s1", "message/s1", f"{caller.user.id}}}:session:s1"):
        await caller.ask("hi", conversationid=conversation)
        assert _contents(upstream) == ["hi"]
    for session in ("s1", "message:s1", "message.s1", "message"):
        await caller.client.ask("POST", "/v1/chat/completions", body, authorization=authorization, x_session_id=session)
        assert "hi" not in _contents(upstream)


@pytest.mark.parametrize(
    "conversation", ["!", "".join(map(chr, range(0x21, 0x5F))), "".join(map(chr, range(0x3F, 0x7F))), "{}" * 32, "*"]
)
async def test_every_visible_character_may_stand_in_a_conversationid(
    caller: Caller, upstream: ScriptedUpstream, conversation: str
) -> None:
    await caller.ask("one", conversationid=conversation[:64])
    await caller.ask("two", conversationid=conversation[:64])
    assert _contents(upstream) == ["one", "one", "two"]


# -- what people try ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", INJECTIONS)
async def test_sql_in_a_field_is_a_text_like_any_other(
    caller: Caller, accounts: Accounts, upstream: ScriptedUpstream, text: str
) -> None:
    answer = await caller.ask(text, msgcache=text)
    assert answer.json["resmsg"]["choices"] == [{"text": text}]
    assert _contents(upstream) == [text]
    assert_failed(await caller.ask(openid=text), 401, FAILED)
    conversation = text.replace(" ", "_")[:64]
    assert (await caller.ask("hi", conversationid=conversation)).json["num"] == 98
    assert _contents(upstream) == ["hi"]
    assert await accounts.left(caller.user) == 98


@pytest.mark.parametrize("text", INJECTIONS)
async def test_sql_is_no_openid_where_openids_are_believed(
    former: Client, upstream: ScriptedUpstream, text: str
) -> None:
    assert_failed(await former.ask("POST", "/message", {"msg": "hi", "openid": text}), 200, FAILED)
    assert not upstream.requests
