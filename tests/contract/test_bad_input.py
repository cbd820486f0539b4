"""Bad input to every endpoint: the documented shape, never a 5xx, never a hang, and the proxy goes on serving."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from tests.contract.shapes import assert_error
from tests.support.http import Client, chat
from tests.support.steps import Answer, completion_of, done, finish, reply, say
from tests.support.upstream import ScriptedUpstream

CHAT = "/v1/chat/completions"
# Longer than any of these should take by far: reaching it is the hang that must not be.
BOUND = 10
STREAMED = re.compile(rb'"stream":\s*true')
USER = {"role": "user", "content": "hi"}


def _body(**fields: Any) -> bytes:
    return json.dumps({"model": "gpt-4o-mini", "messages": [USER], "stream": True, **fields}).encode()


def _without(field: str) -> bytes:
    return json.dumps({k: v for k, v in chat().items() if k != field}).encode()


DEEP = 10_000
START = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}]'
REFUSED: dict[str, bytes] = {
    "empty": b"",
    "blank": b"  \n",
    "broken": b'{"model": "gpt-4o-mini", "messages": [',
    "one brace": b"{",
    "trailing garbage": _body() + b"}",
    "two values": _body() + _body(),
    "single quotes": b"{'model': 'x'}",
    "not UTF-8": b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "UTF-16": json.dumps(chat()).encode("utf-16"),
    "NUL": b"\x00" * 64,
    "null": b"null",
    "a number": b"42",
    "a string": b'"messages"',
    "a list": b"[]",
    "a list of requests": json.dumps([chat(), chat()]).encode(),
    "an empty object": b"{}",
    "no model": _without("model"),
    "no messages": _without("messages"),
    "model is null": _body(model=None),
    "model is a number": _body(model=5),
    "model is a list": _body(model=["gpt-4o-mini"]),
    "model is empty": _body(model=""),
    "messages is null": _body(messages=None),
    "messages is a string": _body(messages="hi"),
    "messages is an object": _body(messages={"0": USER}),
    "messages is empty": _body(messages=[]),
    "a message is null": _body(messages=[None]),
    "a message is a string": _body(messages=["hi"]),
    "a message is a list": _body(messages=[[USER]]),
    "a message without role": _body(messages=[{"content": "hi"}]),
    "role is a number": _body(messages=[{"role": 1, "content": "hi"}]),
    "role is null": _body(messages=[{"role": None, "content": "hi"}]),
    "content is a number": _body(messages=[{"role": "user", "content": 5}]),
    "content is an object": _body(messages=[{"role": "user", "content": {"a": 1}}]),
    "stream is a string": _body(stream="true"),
    "stream is a number": _body(stream=1),
    "stream_options is a string": _body(stream_options="usage"),
    "stream_options is a list": _body(stream_options=[1]),
    "include_usage is a string": _body(stream_options={"include_usage": "yes"}),
    "max_tokens is a string": _body(max_tokens="many"),
    "max_tokens is negative": _body(max_tokens=-1),
    "max_tokens is an object": _body(max_completion_tokens={}),
    "too many messages": _body(messages=[USER] * 20_000),
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep lists, open": b"[" * DEEP,
    "a deep field": START + b',"x":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep content": b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":'
    + b"[" * DEEP
    + b"]" * DEEP
    + b"}]}",
}
# Legal JSON that a careless program trips over. Relayed or refused is a matter of taste; breaking is not.
ODD: dict[str, bytes] = {
    "NaN": START + b',"temperature":NaN}',
    "infinity": START + b',"temperature":1e999}',
    "an integer of 5,000 digits": START + b',"seed":' + b"9" * 5000 + b"}",
    "a lone surrogate": b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"\\ud800"}]}',
    "a lone surrogate in model": b'{"model":"\\udfff","messages":[{"role":"user","content":"x"}]}',
    "a lone surrogate in a field name": START + b',"\\ud800":1}',
    "NUL in text": b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"a\\u0000b"}]}',
    "duplicate names": b'{"model":"x","model":"gpt-4o-mini","messages":[],"messages":[{"role":"user","content":"x"}]}',
    "a BOM": b"\xef\xbb\xbf" + _body(),
    "a long model": _body(model="m" * 100_000),
    "CRLF in model": _body(model="gpt-4o-mini\r\nX-Evil: 1"),
    "an unknown role": _body(messages=[{"role": "\r\nevil", "content": "x"}]),
    "no content": _body(messages=[{"role": "user"}]),
    "content parts of no type": _body(messages=[{"role": "user", "content": [{}, None, 5, "x"]}]),
    "special tokens": _body(messages=[{"role": "user", "content": "<|endoftext|><|im_start|>"}]),
    "no spaces, 300 kB": _body(messages=[{"role": "user", "content": "a" * 300_000}]),
    "300 kB of emoji": _body(messages=[{"role": "user", "content": "🚀" * 75_000}]),
    "500 messages": _body(messages=[USER] * 500),
    "many fields": json.dumps({**chat(), **{f"f{i}": i for i in range(10_000)}}).encode(),
    "huge max_tokens": _body(max_tokens=10**30),
    "n is a string": _body(n="two"),
    "tools is a string": _body(tools="all"),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
async def test_a_body_that_is_no_chat_request_is_a_400(
    patient: Client, upstream: ScriptedUpstream, body: bytes
) -> None:
    """Nothing of it reaches the upstream."""
    async with asyncio.timeout(BOUND):
        answer = await patient.ask("POST", CHAT, body)
    error = assert_error(answer, 400, 413)
    assert error["type"] == "invalid_request_error"
    assert not upstream.requests


async def agree(answer: Answer) -> None:
    """A good answer, streamed if that was asked for, that looks at nothing else of the request."""
    steps = (
        [say("fine"), finish(), done()] if STREAMED.search(answer.request.body) else [reply(200, completion_of("fine"))]
    )
    for step in steps:
        await step(answer)


@pytest.mark.parametrize("body", ODD.values(), ids=ODD.keys())
async def test_an_odd_request_is_relayed_or_refused_and_never_breaks_us(
    patient: Client, upstream: ScriptedUpstream, body: bytes
) -> None:
    upstream.script(agree)
    async with asyncio.timeout(BOUND):
        answer = await patient.ask("POST", CHAT, body)
    if answer.status != 200:
        assert_error(answer, 400, 404, 413)


BAD_HEADERS: list[tuple[str, str]] = [
    ("x_session_id", "a b"),
    ("x_session_id", "a" * 65),
    ("x_session_id", "../../etc"),
    ("x_session_id", "a%0d%0aX-Evil: 1"),
    ("x_session_id", "你好".encode().decode("latin-1")),
    ("x_session_id", "a*b"),
    ("x_session_id", "{x}"),
]


@pytest.mark.parametrize(("name", "value"), BAD_HEADERS)
async def test_a_session_id_of_other_characters_is_a_400(
    patient: Client, upstream: ScriptedUpstream, name: str, value: str
) -> None:
    async with asyncio.timeout(BOUND):
        assert_error(await patient.ask("POST", CHAT, chat(), **{name: value}), 400)
    assert not upstream.requests


ODD_HEADERS: list[tuple[str, str]] = [
    ("x_request_id", "x" * 5000),
    ("x_request_id", "<script>"),
    ("x_request_id", "a\tb"),
    ("traceparent", "garbage"),
    ("traceparent", "\xff" * 55),
    ("idempotency_key", "\xe4\xbd"),
    ("last_event_id", "99999999999999999999"),
    ("origin", "javascript:alert(1)"),
    ("origin", "https://chat.example, https://evil.example"),
    ("cookie", "a=" + "b" * 8000),
    ("cookie", ";;;==;\xff"),
    ("accept_language", "\xff"),
    ("content_type", "application/json; charset=klingon"),
    ("content_type", "application/json; charset=utf-16"),
    ("content_type", ";"),
    ("content_encoding", "gzip"),
    ("content_encoding", "nonsense"),
    ("expect", "100-continue"),
    ("expect", "nonsense"),
    ("upgrade", "websocket"),
    ("range", "bytes=0-1"),
    ("x_forwarded_for", "garbage, 1.2.3.4"),
    ("x_http_method_override", "DELETE"),
    ("x_resumable", "yes please"),
]


@pytest.mark.parametrize(("name", "value"), ODD_HEADERS)
async def test_an_odd_header_is_ignored_or_refused_and_never_reflected(
    patient: Client, upstream: ScriptedUpstream, name: str, value: str
) -> None:
    async with asyncio.timeout(BOUND):
        connection = await patient.send("POST", CHAT, chat(), **{name: value})
        head = await connection.head()
        if head.status == 100:  # the interim answer to Expect
            head = await connection.head()
        while await connection.piece():
            pass
    assert head.status in (200, 400, 415, 417), head
    assert head.get("X-Evil") is None
    assert value not in (head.get("X-Request-Id") or "", head.get("Access-Control-Allow-Origin") or "")


TARGETS = [
    "/v1/chat/completions/../models",
    "/v1/models/..%2f..%2fetc%2fpasswd",
    "/v1/models/%00",
    "/v1/models/%0d%0aX-Evil:%201",
    "/v1/models/%ff%fe",
    "/v1/models/" + "m" * 6000,
    "//evil.example/%2e%2e",
    "/v1//models",
    "/v1/models/<script>alert(1)</script>",
    "/" + "%25" * 1000,
    "/?" + "a=b&" * 500,
    "/v1/models?limit=-1&after=%00",
    "/static/../../../etc/passwd",
    "/static/%2e%2e/%2e%2e/etc/passwd",
    "/metrics/x",
    "/healthz/x",
    "/%C0%AE%C0%AE/",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_an_odd_path_is_answered_without_a_fault(patient: Client, method: str, target: str) -> None:
    """Below 500, without a file of the machine and without a header of the caller's making."""
    async with asyncio.timeout(BOUND):
        answer = await patient.ask(method, target, {} if method == "POST" else None)
    assert 200 <= answer.status < 500, answer
    assert answer.head.get("X-Evil") is None
    assert b"root:" not in answer.body
    if answer.status >= 400 and method != "HEAD":
        assert_error(answer, answer.status)


PATHS = ["/", CHAT, "/v1/models", "/v1/models/gpt-4o-mini", "/healthz", "/readyz", "/metrics", "/v1/nothing"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"]
)
async def test_every_path_answers_every_method(
    patient: Client, upstream: ScriptedUpstream, method: str, path: str
) -> None:
    async with asyncio.timeout(BOUND):
        answer = await patient.ask(method, path, {} if method in ("POST", "PUT", "PATCH") else None)
    assert 200 <= answer.status < 500, answer
    if answer.status >= 400 and method != "HEAD":
        assert_error(answer, 400, 404, 405)


# Faults below the application: Tornado answers 400 or closes. What counts is that nothing gets through.
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n"
RAW: dict[str, bytes] = {
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
    "length and chunked": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a huge length": POST + b"Content-Length: 99999999999999\r\n\r\n{}",
    "a broken chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a folded header": GET + b"X-A: b\r\n c\r\n\r\n",
    "a space before the colon": GET + b"X-A : b\r\n\r\n",
    "NUL in a header": GET + b"X-A: a\x00b\r\n\r\n",
    "a header without a colon": GET + b"nonsense\r\n\r\n",
    "a header of 70 kB": GET + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n",
    "5,000 headers": GET + b"" + b"X-A: b\r\n" * 5000 + b"\r\n",
    "TLS": bytes.fromhex("16030100a5010000a10303") + b"\x00" * 160 + b"\r\n\r\n",
    "garbage": b"\x00\xff\xfe garbage \r\n\r\n",
    "a lone line": b"GET\r\n\r\n",
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "HTTP/9.9": b"GET /v1/models HTTP/9.9\r\nHost: x\r\n\r\n",
    "a proxy request": b"GET http://169.254.169.254/latest/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "CR in the target": b"GET /v1/\rmodels HTTP/1.1\r\nHost: x\r\n\r\n",
    "50 MB": POST + b"Content-Length: 50000000\r\n\r\n" + b"x" * 100_000,
    "2,500 arguments": b"GET /?" + b"a=b&" * 2500 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", RAW.values(), ids=RAW.keys())
async def test_a_broken_request_is_refused_or_closed_and_the_next_one_served(
    patient: Client, upstream: ScriptedUpstream, request_bytes: bytes
) -> None:
    """Bytes that are no HTTP: 4xx or the connection closed, never an upstream call."""
    connection = await patient.connect()
    async with asyncio.timeout(BOUND):
        try:
            await connection.send(request_bytes)
            head = await connection.head()
        except ConnectionError:
            head = None  # closed without an answer, as for a TLS hello
    assert head is None or 400 <= head.status < 500 or (head.status == 204 and request_bytes.startswith(b"OPTIONS"))
    assert not upstream.requests
    assert (await patient.chat("still here")).text() == "stillhere"


async def test_bodies_of_two_megabytes_are_refused_everywhere(patient: Client, upstream: ScriptedUpstream) -> None:
    """By length and chunked, on every path that takes a body and those that do not."""
    for path in PATHS:
        for headers in ({}, {"transfer_encoding": "chunked"}):
            async with asyncio.timeout(BOUND):
                answer = await patient.ask("POST", path, b"x" * 2_000_000, **headers)
            assert_error(answer, 400, 404, 405, 413)


async def test_a_client_that_stops_inside_its_request_harms_nobody(patient: Client, upstream: ScriptedUpstream) -> None:
    """Half a body, then FIN or RST, at several places; the proxy serves on and has logged no fault."""
    whole = POST + b'Content-Length: 500\r\n\r\n{"model":'
    for end in (1, 20, 60, len(whole)):
        for leave in ("leave", "reset"):
            connection = await patient.connect()
            await connection.send(whole[:end])
            getattr(connection, leave)()
    assert (await patient.chat("fine")).text() == "fine"
    assert not [request for request in upstream.requests if b"fine" not in request.body]
