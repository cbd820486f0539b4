"""POST /token belongs to two systems: the body's shape tells whose answer it gets."""

from __future__ import annotations

from typing import Any

import pytest

from streamproxy.handlers import compat
from tests.compat.conftest import Accounts
from tests.support.http import Client

FORM = "application/x-www-form-urlencoded"
PASSWORD = "correct horse"

SHAPES: dict[str, tuple[Any, str, str]] = {
    "u and p": ({"u": "NAME", "p": PASSWORD}, "application/json", "chatapi"),
    "u and p without a media type": ({"u": "NAME", "p": PASSWORD}, "", "chatapi"),
    "u and p as curl sends them": ({"u": "NAME", "p": PASSWORD}, FORM, "chatapi"),
    "a form": (f"grant_type=password&username=NAME&password={PASSWORD}".replace(" ", "+"), FORM, "simple_chat"),
    "JSON": ({"username": "NAME", "password": PASSWORD}, "application/json", "simple_chat"),
    "JSON as curl sends it": ({"username": "NAME", "password": PASSWORD}, FORM, "simple_chat"),
}


@pytest.mark.parametrize(("body", "kind", "family"), SHAPES.values(), ids=SHAPES.keys())
async def test_each_gets_its_systems_answer(
    anybody: Client, accounts: Accounts, body: Any, kind: str, family: str
) -> None:
    user = await accounts.user(password=PASSWORD)
    if isinstance(body, str):
        sent: Any = body.replace("NAME", user.name).encode()
    else:
        sent = {name: value.replace("NAME", user.name) for name, value in body.items()}
    answer = await anybody.ask("POST", "/token", sent, content_type=kind)
    if family == "chatapi":
        assert answer.status == 201
        assert answer.json["message"]["username"] == user.name
    else:
        assert answer.status == 200
        assert answer.json["token_type"] == "bearer"


REFUSALS: dict[str, tuple[Any, str, set[str]]] = {
    "u and p": ({"u": "x", "p": "y"}, "application/json", {"statu", "message"}),
    "u alone": ({"u": "x"}, "application/json", {"statu", "message"}),
    "nothing": ({}, "application/json", {"statu", "message"}),
    "a form": (b"username=x&password=y", FORM, {"detail", "code"}),
    "an empty form": (b"", FORM, {"detail", "code"}),
    "a form of bytes": (b"\xff\xfe&username=%ff", FORM, {"detail", "code"}),
    "a form of 1,000 fields": (b"a=b&" * 1000 + b"username=x&password=y", FORM, {"detail", "code"}),
    "JSON": ({"username": "x", "password": "y"}, "application/json", {"detail", "code"}),
    "JSON without a password": ({"username": "x"}, "application/json", {"detail", "code"}),
    "JSON with numbers": ({"username": 1, "password": 2}, "application/json", {"detail", "code"}),
}


@pytest.mark.parametrize(("body", "kind", "fields"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_each_gets_its_systems_refusal(anybody: Client, body: Any, kind: str, fields: set[str]) -> None:
    answer = await anybody.ask("POST", "/token", body, content_type=kind)
    assert answer.status == 401
    assert set(answer.json) == fields
    assert (answer.head.get("WWW-Authenticate") or "").startswith("Bearer")


@pytest.mark.parametrize(
    ("families", "served"),
    [(["message"], False), (["pro"], False), (["chatapi"], True), (["simple_chat"], True), ([], False)],
)
def test_it_is_there_while_one_of_them_is(families: list[str], *, served: bool) -> None:
    assert ("/token" in dict(compat.routes(families))) is served
