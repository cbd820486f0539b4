"""CONTRACTS A: POST /v1/images/generations and /v1/embeddings pass on what was asked and what was answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from sqlalchemy import select
from tornado.ioloop import IOLoop

from streamproxy.stores.sql.connect import open_sql
from streamproxy.stores.sql.models import messages, usage
from tests.compat.conftest import Accounts
from tests.contract.shapes import CANARY, assert_error
from tests.e2e.facts import until
from tests.support.http import Client, Head
from tests.support.proxies import StartProxy
from tests.support.proxy import ProxyProcess
from tests.support.steps import drop, error_of, head, raw, reply, stall, wire
from tests.support.upstream import ScriptedUpstream

IMAGES, EMBEDDINGS = "/v1/images/generations", "/v1/embeddings"
PICTURES: dict[str, Any] = {
    "created": 1,
    "data": [{"url": "https://pictures.example/1"}, {"url": "https://pictures.example/2"}],
}
VECTORS = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -1.50]}],
    "model": "scripted",
    "usage": {"prompt_tokens": 6, "total_tokens": 6},
}
ASKED: dict[str, dict[str, Any]] = {
    IMAGES: {"model": "scripted", "prompt": "a cat"},
    EMBEDDINGS: {"model": "scripted", "input": "a cat"},
}
GOOD: dict[str, dict[str, Any]] = {IMAGES: PICTURES, EMBEDDINGS: VECTORS}
both = pytest.mark.parametrize("path", [IMAGES, EMBEDDINGS])


@pytest.fixture(scope="session")
def plain_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(
        UPSTREAM__MODELS="scripted,painter",
        MODELS__DEFAULT_IMAGE_MODEL="painter",
        MODELS__PRICES="scripted=1/1/1/0.04",
        LIMITS__REQUESTS="20/calendar-day",
        LIMITS__TOKENS="100000/min",
    )


class Caller:
    """A new user with twenty requests a day, and their usage rows."""

    def __init__(self, client: Client, accounts: Accounts) -> None:
        self.client = client
        self._accounts = accounts

    async def ask(self, path: str, **fields: Any) -> Any:
        return await self.client.ask("POST", path, ASKED[path] | fields)

    async def row(self, answer: Head) -> dict[str, Any]:
        """The usage row of a stream, once it is written."""
        query = select(usage).where(usage.c.stream_id == answer.get("X-Stream-Id"))

        async def written() -> Any:
            async with self._accounts.database.read() as connection:
                return (await connection.execute(query)).one_or_none()

        return dict((await until(written, "the row is written", 5))._mapping)

    async def said(self, answer: Head) -> int:
        """How many messages a stream left in the history."""
        query = select(messages.c.role).where(messages.c.stream_id == answer.get("X-Stream-Id"))
        async with self._accounts.database.read() as connection:
            return len((await connection.execute(query)).all())


async def _caller(proxy: ProxyProcess) -> tuple[Caller, Accounts]:
    accounts = Accounts(proxy, await open_sql(proxy.database_url))
    return Caller(Client(proxy.port, await accounts.bearer(await accounts.user())), accounts), accounts


@pytest.fixture
def caller(io_loop: IOLoop, plain_proxy: ProxyProcess) -> Iterator[Caller]:
    caller, accounts = io_loop.run_sync(lambda: _caller(plain_proxy))
    yield caller
    caller.client.close()
    accounts.auth.close()
    io_loop.run_sync(accounts.database.close)
    plain_proxy.check_log()


@both
async def test_question_and_answer_pass_untouched(caller: Caller, upstream: ScriptedUpstream, path: str) -> None:
    """Fields that nobody here knows included; the answer byte for byte."""
    body = json.dumps(GOOD[path], indent=1).encode()
    upstream.once(reply(200, body))
    answer = await caller.ask(path, user="u-1", new_field={"x": [1]})
    assert (answer.status, answer.body) == (200, body)
    assert answer.head.get("Content-Type") == "application/json"
    request = await upstream.request()
    assert request.path == path
    assert request.json == ASKED[path] | {"user": "u-1", "new_field": {"x": [1]}}
    assert (request.header("Authorization") or "").startswith("Bearer sk-planted-")


async def test_pictures_are_counted_and_paid_for(caller: Caller, upstream: ScriptedUpstream) -> None:
    upstream.once(reply(200, PICTURES))
    answer = await caller.ask(IMAGES, n=2)
    row = await caller.row(answer.head)
    assert (row["endpoint"], row["model"], row["images"]) == (IMAGES, "scripted", 2)
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == (0, 0, False)
    assert row["cost_nano_usd"] == 80_000_000
    assert row["end_reason"] == "finish"
    assert await caller.said(answer.head) == 0


@pytest.mark.parametrize(
    ("path", "reported", "tokens"),
    [
        (IMAGES, {"input_tokens": 9, "output_tokens": 40, "total_tokens": 49}, (9, 40, False)),
        (EMBEDDINGS, {"prompt_tokens": 6, "total_tokens": 6}, (6, 0, False)),
    ],
)
async def test_tokens_are_counted_as_reported(
    caller: Caller, upstream: ScriptedUpstream, path: str, reported: dict[str, int], tokens: tuple[int, int, bool]
) -> None:
    upstream.once(reply(200, GOOD[path] | {"usage": reported}))
    row = await caller.row((await caller.ask(path)).head)
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == tokens


async def test_embeddings_without_usage_are_estimated(caller: Caller, upstream: ScriptedUpstream) -> None:
    upstream.once(reply(200, {"data": [{"embedding": [1]}]}))
    row = await caller.row((await caller.ask(EMBEDDINGS, input=[[1, 2, 3], [4]])).head)
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"], row["images"]) == (4, 0, True, 0)


async def test_without_a_model_the_configured_one_draws(caller: Caller, upstream: ScriptedUpstream) -> None:
    upstream.once(reply(200, PICTURES))
    assert (await caller.client.ask("POST", IMAGES, {"prompt": "a cat"})).status == 200
    assert (await upstream.request()).json == {"prompt": "a cat", "model": "painter"}


@both
async def test_a_failing_key_is_replaced_by_another(caller: Caller, upstream: ScriptedUpstream, path: str) -> None:
    upstream.once(reply(401, error_of(f"Incorrect API key {CANARY}", code="invalid_api_key")))
    upstream.once(drop())
    upstream.once(reply(200, GOOD[path]))
    answer = await caller.ask(path)
    assert answer.status == 200
    keys = {request.header("Authorization") for request in upstream.requests}
    assert len(keys) >= 2
    assert (await caller.row(answer.head))["attempts"] == 3


@both
@pytest.mark.parametrize(
    ("script", "status"),
    [
        (reply(400, error_of("prompt is too odd", code="content_policy_violation", kind="invalid_request_error")), 400),
        (reply(401, error_of(f"key {CANARY}", code="invalid_api_key")), 502),
        (reply(429, error_of(f"slow down {CANARY}", code="rate_limit_exceeded"), retry_after="1"), 429),
        (reply(500, f"<html>{CANARY}</html>".encode(), content_type="text/html"), 502),
        (reply(200, b'{"data": ['), 502),
        (reply(200, {"created": 1}), 502),
        (reply(200, {"error": {"message": CANARY}}), 502),
        (wire(b"garbage\r\n\r\n"), 502),
        (head(200, content_type="application/json"), 502),
    ],
)
async def test_an_upstream_that_fails_is_told_in_our_words(
    caller: Caller, upstream: ScriptedUpstream, path: str, script: Any, status: int
) -> None:
    upstream.script(script)
    error = assert_error(await caller.ask(path), status, 503)
    assert "sk-planted" not in json.dumps(error)


@both
@pytest.mark.parametrize("phase", ["before the head", "inside the body"])
async def test_leaving_closes_the_upstream(caller: Caller, upstream: ScriptedUpstream, path: str, phase: str) -> None:
    begin = [] if phase == "before the head" else [head(200, content_type="application/json"), raw(b'{"data":')]
    upstream.script(*begin, stall())
    connection = await caller.client.send("POST", path, ASKED[path])
    request = await upstream.request()
    connection.leave()
    async with asyncio.timeout(5):
        await request.left


@both
async def test_limits_are_those_of_every_request(caller: Caller, upstream: ScriptedUpstream, path: str) -> None:
    """Failures and refused requests cost nothing, answers count together with all others."""
    upstream.once(reply(400, error_of("no", kind="invalid_request_error")))
    assert (await caller.ask(path)).status == 400
    upstream.script(reply(200, GOOD[path]))
    for _ in range(20):
        assert (await caller.ask(path)).status == 200
        assert (await caller.client.ask("POST", path, ASKED[path] | {"prompt": 7, "input": 7})).status == 400
    refused = await caller.ask(path)
    assert assert_error(refused, 429)["code"] == "daily_limit_exceeded"
    assert refused.head.get("Retry-After")


@both
async def test_a_model_that_nobody_serves_is_not_found(caller: Caller, path: str) -> None:
    error = assert_error(await caller.ask(path, model="nobody"), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


@both
async def test_a_credential_is_needed(caller: Caller, path: str) -> None:
    assert_error(await caller.client.ask("POST", path, ASKED[path], authorization="Bearer nobody"), 401)
    assert assert_error(await caller.client.ask("GET", path), 405)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (IMAGES, {"prompt": ""}, "prompt"),
        (IMAGES, {"stream": {}}, "stream"),
        (IMAGES, {"prompt": None}, "prompt"),
        (IMAGES, {"prompt": ["a"]}, "prompt"),
        (IMAGES, {"prompt": "x" * 32_001}, "prompt"),
        (IMAGES, {"n": 0}, "n"),
        (IMAGES, {"n": 11}, "n"),
        (IMAGES, {"n": True}, "n"),
        (IMAGES, {"n": 1.5}, "n"),
        (IMAGES, {"size": "big"}, "size"),
        (IMAGES, {"size": 1024}, "size"),
        (IMAGES, {"size": "0x0"}, "size"),
        (IMAGES, {"size": "1024x1024\n"}, "size"),
        (IMAGES, {"response_format": "png"}, "response_format"),
        (IMAGES, {"response_format": 1}, "response_format"),
        (IMAGES, {"stream": True}, "stream"),
        (IMAGES, {"model": ""}, "model"),
        (EMBEDDINGS, {"input": ""}, "input"),
        (EMBEDDINGS, {"input": []}, "input"),
        (EMBEDDINGS, {"input": ["a", ""]}, "input"),
        (EMBEDDINGS, {"input": ["a", 1]}, "input"),
        (EMBEDDINGS, {"input": [True]}, "input"),
        (EMBEDDINGS, {"input": [-1]}, "input"),
        (EMBEDDINGS, {"input": [[1], []]}, "input"),
        (EMBEDDINGS, {"input": ["a"] * 2049}, "input"),
        (EMBEDDINGS, {"input": [1] * 300_001}, "input"),
        (EMBEDDINGS, {"input": {"a": 1}}, "input"),
        (EMBEDDINGS, {"input": 7}, "input"),
        (EMBEDDINGS, {"encoding_format": "hex"}, "encoding_format"),
        (EMBEDDINGS, {"dimensions": 0}, "dimensions"),
        (EMBEDDINGS, {"model": None}, "model"),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_the_field_at_fault(
    caller: Caller, upstream: ScriptedUpstream, path: str, fields: dict[str, Any], param: str
) -> None:
    assert assert_error(await caller.ask(path, **fields), 400)["param"] == param
    assert not upstream.requests


async def test_openais_own_client_reads_the_answers(caller: Caller, upstream: ScriptedUpstream) -> None:
    upstream.once(reply(200, PICTURES))
    upstream.once(reply(200, VECTORS))
    base = f"http://127.0.0.1:{caller.client.port}/v1"
    async with openai.AsyncOpenAI(api_key=caller.client.bearer, base_url=base, max_retries=0) as client:
        pictures = await client.images.generate(prompt="a cat", model="scripted", n=2, size="1024x1024")
        assert [one.url for one in pictures.data or []] == [one["url"] for one in PICTURES["data"]]
        vectors = await client.embeddings.create(input="a cat", model="scripted", encoding_format="float")
        assert vectors.data[0].embedding == [0.25, -1.5]
