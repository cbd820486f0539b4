"""Bad input to every endpoint of the document: never a fault of ours, never a hang, always a documented shape.

schemathesis makes up input of its own (``test_fuzz``); what is asked here is asked of every endpoint, at every run.
"""

from __future__ import annotations

import asyncio
import copy
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator
from tornado.ioloop import IOLoop

from streamproxy.openapi import document
from streamproxy.openapi.document import OPERATIONS
from streamproxy.openapi.operation import Json, Operation
from tests.compat.injections import INJECTIONS
from tests.openapi.fuzz import credentials, running_proxy
from tests.support.http import Client, Reply
from tests.support.proxy import ProxyProcess

DOCUMENT = document(cookie="streamproxy", served=lambda _path: True)
# Longer than any of these should take by far: reaching it is the hang that must not be.
BOUND = 60
# What any path may answer beside its own statuses, in its family's shape: the document says so once.
ANYWHERE = {404, 405, 413}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "X")
AT_ONCE = 16
Request: TypeAlias = tuple[Operation, str, object, dict[str, str]]
EVIL = "a\r\nX-Evil: 1\r\n\r\n"
DEEP = 10_000

BROKEN: dict[str, bytes] = {
    "empty": b"",
    "one brace": b"{",
    "two values": b"{}{}",
    "null": b"null",
    "a number": b"42",
    "a string": b'"x"',
    "a list": b"[]",
    "an empty object": b"{}",
    "not UTF-8": b'{"model":"\xff\xfe"}',
    "UTF-16": '{"model":"x"}'.encode("utf-16"),
    "NUL": b"\x00" * 64,
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep lists, open": b"[" * DEEP,
    "a deep field": b'{"x":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "2 MB": b"x" * 2_000_000,
}
WRONG: tuple[object, ...] = (
    None,
    True,
    -1,
    1.5,
    10**30,
    "",
    "\x00",
    EVIL,
    "x" * 20_000,
    [],
    {},
    [[None]],
    {"a": {"b": []}},
)
ODD: tuple[str, ...] = (
    "",
    "-1",
    "1e9",
    "9" * 3000,
    "x" * 3000,
    "\x00",
    EVIL,
    "../../etc/passwd",
    "' OR '1'='1",
    "你好",
)


@dataclass(frozen=True, slots=True)
class Walker:
    """Asks one proxy as an admin who may do anything, or as whom the endpoint knows."""

    client: Client
    chatapi_token: str

    async def ask_all(self, requests: Sequence[Request]) -> list[Reply]:
        """Every request and its answer, which the document must know; a few at once, for some endpoints take time."""
        places = asyncio.Semaphore(AT_ONCE)

        async def ask(operation: Operation, path: str, body: object, headers: dict[str, str]) -> Reply:
            async with places, asyncio.timeout(BOUND):
                return await self._ask(operation, path, body, **headers)

        return await asyncio.gather(*(ask(*request) for request in requests))

    async def _ask(self, operation: Operation, path: str, body: object, **headers: str) -> Reply:
        if operation.security == [{"chatapi": []}]:
            headers.setdefault("authorization", f"Bearer {self.chatapi_token}")
        method = headers.pop("method", operation.method.upper())
        answer = await self.client.ask(method, path, body, **headers)
        assert_documented(operation, answer, method)
        return answer


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ProxyProcess, dict[str, str]]]:
    with running_proxy(tmp_path_factory.mktemp("walked")) as proxy:
        yield proxy, credentials(proxy)


@pytest.fixture
def walker(io_loop: IOLoop, walked: tuple[ProxyProcess, dict[str, str]]) -> Iterator[Walker]:
    proxy, known = walked
    with closing(Client(proxy.port, known["FUZZ_TOKEN"])) as client:
        yield Walker(client, known["FUZZ_CHATAPI_TOKEN"])
    proxy.check_log()


def assert_documented(operation: Operation, answer: Reply, method: str) -> None:
    """Status, shape and headers are what the document says, and nothing of the caller's making is among them."""
    status, told = str(answer.status), DOCUMENT["paths"][operation.path][operation.method]["responses"]
    assert answer.status < 500, answer
    assert answer.head.get("X-Request-Id")
    assert answer.head.get("X-Evil") is None
    response = told.get(status, {})
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    if not response:
        assert answer.status in ANYWHERE, f"{answer.status} is not documented: {answer}"
        response = {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{operation.error}"}}}}
    kind = (answer.head.get("Content-Type") or "").partition(";")[0]
    assert kind in response.get("content", {"": {}}), answer
    if kind == "application/json" and method != "HEAD":
        schema = response["content"][kind]["schema"]
        Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(answer.json)


def wrong_bodies(example: Any) -> Iterator[Any]:
    """*example* with one of its values missing, or of another type or size, for every value and every way."""
    for at in _places(example):
        for wrong in WRONG:
            body = copy.deepcopy(example)
            parent, last = _reach(body, at)
            parent[last] = wrong
            yield body
        body = copy.deepcopy(example)
        parent, last = _reach(body, at)
        del parent[last]
        yield body


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield (*at, key)
        yield from _places(child, (*at, key))


def _value(value: Any, at: tuple[Any, ...]) -> Any:
    for key in at:
        value = value[key]
    return value


def _reach(value: Any, at: tuple[Any, ...]) -> tuple[Any, Any]:
    return _value(value, at[:-1]), at[-1]


def _ids(operation: Operation) -> str:
    return operation.id


BODIES = [operation for operation in OPERATIONS if operation.body is not None]


@pytest.mark.parametrize("operation", OPERATIONS, ids=_ids)
async def test_a_body_that_is_no_request_is_refused_in_the_documented_shape(
    walker: Walker, operation: Operation
) -> None:
    """Broken, deep and large ones; where no body belongs it does no harm."""
    answers = await walker.ask_all([(operation, operation.sample, body, {}) for body in BROKEN.values()])
    if operation.body is not None:
        taken = [name for name, answer in zip(BROKEN, answers, strict=True) if answer.status < 400]
        assert set(taken) <= {"an empty object"}


@pytest.mark.parametrize("operation", BODIES, ids=_ids)
async def test_wrong_types_and_missing_fields_are_answered_in_the_documented_shape(
    walker: Walker, operation: Operation
) -> None:
    """At every place of the body. What the schema refuses is refused."""
    assert operation.body is not None
    media = operation.body["content"]["application/json"]
    schema = Draft202012Validator({**media["schema"], "components": DOCUMENT["components"]})
    bodies = list(wrong_bodies(media["example"]))
    answers = await walker.ask_all([(operation, operation.sample, json.dumps(body).encode(), {}) for body in bodies])
    taken = [body for body, answer in zip(bodies, answers, strict=True) if answer.status < 400]
    assert [json.dumps(body)[:300] for body in taken if not schema.is_valid(body)] == []


@pytest.mark.parametrize("operation", BODIES, ids=_ids)
async def test_another_kind_of_body_is_refused_in_the_documented_shape(walker: Walker, operation: Operation) -> None:
    kinds = ("text/plain", "multipart/form-data; boundary=x", "application/xml", "\xff")
    answers = await walker.ask_all([(operation, operation.sample, b"a=b", {"content_type": kind}) for kind in kinds])
    assert all(answer.status >= 400 for answer in answers)


@pytest.mark.parametrize("operation", OPERATIONS, ids=_ids)
async def test_odd_parameters_are_answered_in_the_documented_shape(walker: Walker, operation: Operation) -> None:
    """In path, query and headers; line ends in them make no header of the answer."""
    body = None if operation.body is None else next(iter(operation.body["content"].values()))["example"]
    queries = ("?%ff=%fe", "?" + "a=b&" * 400, "?limit=1&limit=2&after=%00&after=", "?" + quote(EVIL))
    asked: list[tuple[str, dict[str, str]]] = [(operation.sample + query, {}) for query in queries]
    for one in operation.parameters:
        asked += [request for odd in ODD for request in _odd(operation, one, odd)]
    await walker.ask_all([(operation, path, body, headers) for path, headers in asked])


def _odd(operation: Operation, one: Json, odd: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The path and headers of a request whose parameter *one* is *odd*; none where no request can say it."""
    if one["in"] == "path":
        samples = {p["name"]: p["example"] for p in operation.parameters if p["in"] == "path"}
        yield operation.path.format_map({**samples, one["name"]: quote(odd, safe="")}), {}
    elif one["in"] == "query":
        yield f"{operation.sample}?{one['name']}={quote(odd, safe='')}", {}
    elif odd.isprintable():
        yield operation.sample, {one["name"].replace("-", "_"): odd.encode().decode("latin-1")}


@pytest.mark.parametrize("operation", OPERATIONS, ids=_ids)
async def test_sql_in_any_string_does_nothing(
    walker: Walker, walked: tuple[ProxyProcess, dict[str, str]], operation: Operation
) -> None:
    """At every place of the body and in every parameter: no table and no account is another afterwards."""
    example = None if operation.body is None else next(iter(operation.body["content"].values()))["example"]
    requests: list[Request] = []
    for text in INJECTIONS[:8:2]:
        for at in [at for at in _places(example) if isinstance(_value(example, at), str)]:
            body = copy.deepcopy(example)
            parent, last = _reach(body, at)
            parent[last] = text
            requests.append((operation, operation.sample, json.dumps(body).encode(), {}))
        for one in operation.parameters:
            requests += [(operation, path, example, headers) for path, headers in _odd(operation, one, text)]
    before = _accounts(walked[0])
    await walker.ask_all(requests)
    assert _accounts(walked[0]) == before


def _accounts(proxy: ProxyProcess) -> tuple[list[Any], list[Any]]:
    """The names of all tables, and what is known of the accounts that were there from the beginning."""
    with closing(sqlite3.connect(proxy.folder / "streamproxy.db")) as database:
        tables = database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        return tables, database.execute("SELECT * FROM users WHERE name IN ('alice', 'root') ORDER BY name").fetchall()


@pytest.mark.parametrize("operation", OPERATIONS, ids=_ids)
async def test_without_a_good_credential_nothing_is_answered_but_401(walker: Walker, operation: Operation) -> None:
    """Where one is needed; elsewhere a bad one does no harm."""
    bad = ("Bearer ", "Bearer no", "Basic dXNlcjpwYXNz", "Bearer a.b.c", "Bearer \xff")
    answers = await walker.ask_all([(operation, operation.sample, b"{}", {"authorization": one}) for one in bad])
    assert operation.public or {answer.status for answer in answers} == {401}


@pytest.mark.parametrize("path", sorted({operation.path for operation in OPERATIONS}))
async def test_a_method_that_the_path_does_not_know_is_a_405_that_names_those_it_does(
    walker: Walker, path: str
) -> None:
    """In the shape of its family, for words that nobody knows too."""
    here = {operation.method.upper(): operation for operation in OPERATIONS if operation.path == path}
    one = next(iter(here.values()))
    unknown = [method for method in METHODS if method not in here]
    answers = await walker.ask_all([(one, one.sample, b"{}", {"method": method}) for method in unknown])
    for answer in answers:
        assert answer.status == 405, answer
        allowed = {method.strip() for method in (answer.head.get("Allow") or "").split(",")}
        assert set(here) <= allowed <= {*here, "HEAD", "OPTIONS"}


@pytest.mark.parametrize("path", sorted({operation.sample for operation in OPERATIONS} - {"/"}))
async def test_beside_a_path_there_is_nothing(walker: Walker, path: str) -> None:
    """Whatever the method, in OpenAI's shape or, below a family's own path, in that."""
    (models,) = [operation for operation in OPERATIONS if operation.path == "/v1/models"]
    besides = (f"{path}/x/y", f"{path}x%00/", f"/x{path}", f"{path}/%0d%0aX-Evil:%201/z")
    for method in ("GET", "POST", "DELETE"):
        answers = await walker.ask_all([(models, beside, b"{}", {"method": method}) for beside in besides])
        assert {answer.status for answer in answers} <= {400, 404, 405}
