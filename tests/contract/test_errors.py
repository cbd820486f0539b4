"""CONTRACTS A2: one shape for every error, the statuses, and what tells an SDK whether to try again."""

from __future__ import annotations

import base64
import json

import pytest

from tests.contract.shapes import assert_error
from tests.support.http import Client, Reply, chat
from tests.support.proxy import ProxyProcess
from tests.support.steps import error_of, reply, stall
from tests.support.upstream import ScriptedUpstream

CHAT = "/v1/chat/completions"


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


# Made of the parts of a good bearer: {head}, {claims}, {signature}, and {other} claims.
FORGERIES = {
    "no signature": "{head}.{claims}.",
    "algorithm none": _part({"alg": "none", "typ": "at+jwt"}) + ".{claims}.",
    "another signature": "{head}.{claims}." + "A" * 43,
    "another user": "{head}.{other}.{signature}",
    "garbage": "garbage",
    "a provider's key": "sk-0123456789abcdef0123456789abcdef",
    "an unknown API token": "sk-sp-0123456789abcdef0123456789abcdef0123",
    "10 kB": "a" * 10_000,
    "two tokens": "{head}.{claims}.{signature} {head}.{claims}.{signature}",
    "deep JSON": base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=") + ".e30.e30",
}


def _forge(template: str, bearer: str) -> str:
    head, claims, signature = bearer.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    return template.format(head=head, claims=claims, signature=signature, other=_part({**said, "sub": "u_1"}))


@pytest.mark.parametrize("template", FORGERIES.values(), ids=FORGERIES.keys())
@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/gpt-4o-mini")])
async def test_a_credential_that_is_not_ours_is_a_401(
    patient: Client, upstream: ScriptedUpstream, template: str, method: str, path: str
) -> None:
    """With the challenge that HTTP asks for; nothing reaches the upstream."""
    assert patient.bearer
    body = chat() if method == "POST" else None
    answer = await patient.ask(method, path, body, authorization=f"Bearer {_forge(template, patient.bearer)}")
    _assert_challenged(answer)
    assert not upstream.requests


@pytest.mark.parametrize(
    "value", ["Basic dXNlcjpwYXNz", "Bearer", "bearer:", "Token x", "Bearer \xff\xfe", "\xe4\xbd\xa0"]
)
async def test_other_schemes_are_a_401(patient: Client, upstream: ScriptedUpstream, value: str) -> None:
    _assert_challenged(await patient.ask("POST", CHAT, chat(), authorization=value))


async def test_no_credential_is_a_401(patient_proxy: ProxyProcess, patient: Client, upstream: ScriptedUpstream) -> None:
    """There are no guests where a secret is configured."""
    _assert_challenged(await patient.ask("POST", CHAT, chat(), authorization=""))


def _assert_challenged(answer: Reply) -> None:
    error = assert_error(answer, 401)
    assert error["type"] == "authentication_error"
    assert (answer.head.get("WWW-Authenticate") or "").startswith("Bearer")
    assert answer.head.get("X-Should-Retry") == "false"


async def test_the_scheme_is_read_in_any_case(patient: Client, upstream: ScriptedUpstream) -> None:
    """RFC 9110, 11.1: schemes are case-insensitive."""
    answer = await patient.ask("POST", CHAT, chat("hello"), authorization=f"bearer {patient.bearer}")
    assert answer.text() == "hello"


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v1/", "/v2/chat/completions", "/v1/chat/completions/x", "/.env", "/%2e%2e"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_path_is_a_404(patient: Client, method: str, path: str) -> None:
    answer = await patient.ask(method, path, {} if method == "POST" else None)
    assert_error(answer, 404)


async def test_an_unknown_model_is_a_404(patient: Client, upstream: ScriptedUpstream) -> None:
    answer = await patient.ask("POST", CHAT, chat(model="no-such-model"))
    assert assert_error(answer, 404)["code"] == "model_not_found"
    assert_error(await patient.ask("GET", "/v1/models/no-such-model"), 404)
    assert not upstream.requests


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("DELETE", CHAT, "POST"),
        ("PATCH", CHAT, "POST"),
        ("FOO", CHAT, "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/gpt-4o-mini", "GET"),
    ],
)
async def test_a_known_path_with_another_method_is_a_405(patient: Client, method: str, path: str, allowed: str) -> None:
    answer = await patient.ask(method, path, {} if method in ("POST", "PUT", "PATCH") else None)
    assert_error(answer, 405)
    assert allowed in (answer.head.get("Allow") or "")


@pytest.mark.parametrize("framed", ["length", "chunked"])
async def test_a_body_of_two_megabytes_is_a_413(patient: Client, upstream: ScriptedUpstream, framed: str) -> None:
    headers = {"transfer_encoding": "chunked"} if framed == "chunked" else {}
    answer = await patient.ask("POST", CHAT, chat("x" * 2_000_000), **headers)
    assert_error(answer, 413)
    assert answer.head.get("X-Should-Retry") == "false"
    assert not upstream.requests


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_a_body_that_is_announced_as_no_json_is_a_415(
    patient: Client, upstream: ScriptedUpstream, content_type: str
) -> None:
    assert_error(await patient.ask("POST", CHAT, chat(), content_type=content_type), 415)
    assert not upstream.requests


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
)
async def test_a_body_that_is_announced_as_json_is_read(
    patient: Client, upstream: ScriptedUpstream, content_type: str
) -> None:
    assert (await patient.ask("POST", CHAT, chat("hello"), content_type=content_type)).text() == "hello"


async def test_a_bad_request_says_which_field(patient: Client, upstream: ScriptedUpstream) -> None:
    answer = await patient.ask("POST", CHAT, {"model": "gpt-4o-mini", "messages": "hello"})
    error = assert_error(answer, 400)
    assert error["param"] == "messages"
    assert error["type"] == "invalid_request_error"
    assert answer.head.get("X-Should-Retry") == "false"


async def test_what_another_try_may_cure_does_not_forbid_one(patient: Client, upstream: ScriptedUpstream) -> None:
    """SDKs retry 502 by themselves, and nothing was charged."""
    upstream.script(reply(500, error_of("x")))
    answer = await patient.chat()
    assert_error(answer, 502)
    assert answer.head.get("X-Should-Retry") != "false"


async def test_health_is_told_to_anybody(patient: Client) -> None:
    """No credential, and an id on every answer."""
    for path in ("/healthz", "/readyz"):
        answer = await patient.ask("GET", path, authorization="")
        assert answer.status == 200
        assert answer.head.get("X-Request-Id")


async def test_models_are_listed_as_openai_lists_them(patient: Client, upstream: ScriptedUpstream) -> None:
    answer = await patient.ask("GET", "/v1/models")
    assert answer.json["object"] == "list"
    assert {model["id"] for model in answer.json["data"]} == {"gpt-4o-mini", "scripted"}
    for model in answer.json["data"]:
        assert set(model) == {"id", "object", "created", "owned_by"}
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
    one = await patient.ask("GET", "/v1/models/gpt-4o-mini")
    assert one.json in answer.json["data"]


async def test_a_running_stream_over_the_bound_is_refused_until_it_ends(
    strict: Client, upstream: ScriptedUpstream
) -> None:
    """One running stream a principal on this proxy; the second is a 429 that reaches nobody."""
    upstream.script(stall())
    first = await strict.open_chat()
    await upstream.request()
    second = await strict.chat()
    assert_error(second, 429)
    assert int(second.head.get("Retry-After") or "missing") > 0
    assert len(upstream.requests) == 1
    first.leave()
