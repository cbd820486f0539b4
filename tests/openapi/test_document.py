"""The OpenAPI document: valid, complete, and its examples are what its schemas say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from streamproxy.handlers import routes
from streamproxy.handlers.compat import pro as pro_handlers
from streamproxy.handlers.compat import simple_chat as simple_chat_handlers
from streamproxy.openapi import document, pro, simple_chat
from streamproxy.openapi.document import OPERATIONS
from streamproxy.openapi.operation import Operation

DOCUMENT = document(cookie="streamproxy", served=lambda _path: True)
# CORS answers it everywhere, in the same way: the document says so once.
EVERYWHERE = {"OPTIONS"}


def test_it_is_a_valid_openapi_document() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_route_and_method_has_its_operation() -> None:
    """A new endpoint is not done before the document knows it."""
    missing = [
        f"{method} {pattern}"
        for pattern, handler in routes()
        for method in sorted(handler.methods() - EVERYWHERE)
        if not any(o.method == method.lower() and re.fullmatch(pattern, o.sample) for o in OPERATIONS)
    ]
    assert not missing


def test_every_operation_has_a_route_that_knows_its_method() -> None:
    strangers = [
        f"{operation.method} {operation.path}"
        for operation in OPERATIONS
        if operation.method.upper() not in _methods_at(operation.sample)
    ]
    assert not strangers


def _methods_at(path: str) -> set[str]:
    """The methods of the first route that matches, as the application finds it."""
    for pattern, handler in routes():
        if re.fullmatch(pattern, path):
            return handler.methods()
    return set()


def test_public_operations_are_those_of_public_handlers() -> None:
    """Who may come in without a credential is said truly. Where one may stand in the body it is optional."""
    for operation in OPERATIONS:
        handler = next(h for p, h in routes() if re.fullmatch(p, operation.sample))
        optional = operation.public or {} in (operation.security or ())
        assert optional == handler.public, operation.path


def _examples() -> Iterator[tuple[str, dict[str, Any], object]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            places = [operation.get("requestBody", {}), *operation["responses"].values()]
            for place in places:
                for kind, media in place.get("content", {}).items():
                    if "example" in media:
                        yield f"{method} {path} {kind}", media["schema"], media["example"]
            for one in operation.get("parameters", ()):
                if "example" in one:
                    yield f"{method} {path} {one['name']}", one["schema"], one["example"]


@pytest.mark.parametrize(("schema", "example"), [e[1:] for e in _examples()], ids=[e[0] for e in _examples()])
def test_every_example_is_what_its_schema_says(schema: dict[str, Any], example: object) -> None:
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(example)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.id)
def test_every_operation_that_takes_a_body_has_an_example(operation: Operation) -> None:
    if operation.body is not None:
        assert all("example" in media for media in operation.body["content"].values())


def test_bounds_of_handlers_are_told_as_they_are() -> None:
    """The document cannot import from handlers, which import it."""
    assert (pro.LONGEST_SESSION, pro.LONGEST_CONTENT) == (pro_handlers.LONGEST_SESSION, pro_handlers.LONGEST_CONTENT)
    assert simple_chat.MOST_ROWS == simple_chat_handlers.MOST_ROWS


def test_what_is_not_served_is_not_told() -> None:
    without_pro = document(cookie="streamproxy", served=lambda path: not path.startswith("/pro"))
    assert set(DOCUMENT["paths"]) - set(without_pro["paths"]) == {"/pro/chat/completions", "/pro/balance"}
    assert "ProError" not in without_pro["components"]["schemas"]
    assert "pro" not in [tag["name"] for tag in without_pro["tags"]]
    OpenAPIV31SpecValidator(without_pro).validate()
