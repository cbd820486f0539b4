"""Who may use the admin API, and the shape of its errors and lists."""

from __future__ import annotations

import json

import pytest

from streamproxy.handlers import admin as admin_handlers
from tests.contract.shapes import assert_error
from tests.support.http import Client

CALLS = [
    (method, pattern.replace("([A-Za-z0-9_-]{1,64})", "u_1"))
    for pattern, handler in admin_handlers.ROUTES
    for method in sorted(handler.methods() - {"OPTIONS"})
]
LISTS = ["/admin/users", "/admin/tokens", "/admin/keys", "/admin/usage", "/admin/streams"]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_without_a_credential_it_is_a_401(patient: Client, method: str, path: str) -> None:
    body = {} if method in ("POST", "PATCH") else None
    answer = await patient.ask(method, path, body, authorization="")
    assert assert_error(answer, 401)["code"] == "missing_credential"
    assert answer.head.get("WWW-Authenticate") == "Bearer"


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_a_user_is_refused_with_403(patient: Client, method: str, path: str) -> None:
    body = {} if method in ("POST", "PATCH") else None
    assert assert_error(await patient.ask(method, path, body), 403)["code"] == "permission_denied"


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=501", "limit=ten", "limit=", "limit=1.5", "limit=%D9%A1"]
)
async def test_a_limit_out_of_range_is_a_400_that_says_so(admin: Client, path: str, query: str) -> None:
    assert assert_error(await admin.ask("GET", f"{path}?{query}"), 400)["param"] == "limit"


@pytest.mark.parametrize("path", LISTS)
async def test_an_unknown_query_field_is_a_400(admin: Client, path: str) -> None:
    """A misspelt ``user_id`` must not show everybody's."""
    assert assert_error(await admin.ask("GET", f"{path}?userid=u_1"), 400)["param"] == "userid"


@pytest.mark.parametrize("path", LISTS)
async def test_a_query_field_twice_is_a_400(admin: Client, path: str) -> None:
    assert assert_error(await admin.ask("GET", f"{path}?limit=1&limit=2"), 400)["param"] == "limit"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff", b"[" * 10_000, b'{"name": "x", "nmae": 1}'])
async def test_a_body_that_is_no_new_user_is_a_400(admin: Client, body: bytes) -> None:
    assert_error(await admin.ask("POST", "/admin/users", body), 400)


@pytest.mark.parametrize(
    "value",
    [
        {"name": ""},
        {"name": " x"},
        {"name": "a\nb"},
        {"name": "x" * 65},
        {"name": 1},
        {"name": None},
        {"role": "guest"},
        {"role": "root"},
        {"questions": -1},
        {"questions": 2**31},
        {"questions": "1"},
        {"questions": True},
        {"password": ""},
        {"openid": ""},
        {"email": "nobody"},
    ],
    ids=json.dumps,
)
async def test_what_is_wrong_with_a_new_user_is_named(admin: Client, value: dict[str, object]) -> None:
    (field,) = value
    error = assert_error(await admin.ask("POST", "/admin/users", {"name": "somebody", **value}), 400)
    assert error["param"] == field
