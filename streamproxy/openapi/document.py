"""The whole document, put together from the families, for the endpoints that a server serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from streamproxy import __version__
from streamproxy.openapi import (
    admin,
    billing,
    chat,
    chatapi,
    message,
    models,
    objects,
    pro,
    server,
    sessions,
    simple_chat,
    streams,
    token,
)
from streamproxy.openapi.operation import Json, Operation, error_response, struct

FAMILIES: Final = tuple(
    module.FAMILY
    for module in (
        chat,
        models,
        objects,
        streams,
        sessions,
        billing,
        message,
        chatapi,
        simple_chat,
        token,
        pro,
        admin,
        server,
    )
)
OPERATIONS: Final = tuple(operation for family in FAMILIES for operation in family.operations)

_DESCRIPTION = """\
A proxy between chat frontends and OpenAI-compatible APIs.

Every answer has an `X-Request-Id`. Browsers may preflight every path with OPTIONS. A method that a path does not
know is answered with 405 and `Allow`, a body that is too large with 413. Integers are written without a fraction:
`1.0` is refused where `1` is meant.

Some formats of strings are our own. A `line` has no control characters and no blanks but spaces; a `trimmed-line` has
none at its ends either. `limits` are written `N/W`, comma-separated, such as `3/30s,20/calendar-day`. An `address`
is what an e-mail address can look like.
"""


def document(*, cookie: str, served: Callable[[str], bool]) -> Json:
    """The document, with the operations at paths that are *served*. *cookie* is the name of the page's cookie."""
    operations = [operation for operation in OPERATIONS if served(operation.sample)]
    tags = {operation.tag for operation in operations}
    return {
        "openapi": "3.1.1",
        "info": {"title": "streamproxy", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"cookie": []}],
        "tags": [{"name": f.tag, "description": f.description} for f in FAMILIES if f.tag in tags],
        "paths": _paths(operations),
        "components": _components(operations, cookie),
    }


def _paths(operations: list[Operation]) -> Json:
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = operation.rendered()
    return paths


def _components(operations: list[Operation], cookie: str) -> Json:
    tags = {operation.tag for operation in operations}
    errors = sorted({(operation.error, status) for operation in operations for status in operation.errors})
    schemas = {"Error": ERROR}
    for family in FAMILIES:
        if family.tag in tags:
            schemas |= family.schemas
    return {
        "schemas": schemas,
        "responses": {f"{schema}{status}": error_response(status, schema) for schema, status in errors},
        "headers": _HEADERS,
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "A bearer (JWT) or an API token (sk-sp-…)."},
            "chatapi": {"type": "http", "scheme": "bearer", "description": "The token that ChatAPI's /token gave."},
            "cookie": {
                "type": "apiKey",
                "in": "cookie",
                "name": cookie,
                "description": "A bearer that the server's own page keeps; it counts for requests of that page only.",
            },
        },
    }


ERROR: Final[Json] = struct(
    {
        "error": struct(
            {
                "message": {"type": "string", "minLength": 1},
                "type": {"type": "string", "description": "The kind of error, as OpenAI's clients know it."},
                "param": {"type": ["string", "null"], "description": "The field at fault."},
                "code": {"type": "string", "description": "What a program looks at."},
            },
            additionalProperties=False,
        )
    },
    additionalProperties=False,
    description="Every error of the paths that OpenAI has too, and of the admin API.",
)
_HEADERS: Final[Json] = {
    "RequestId": {
        "required": True,
        "description": "Names this request in the server's log.",
        "schema": {"type": "string", "pattern": "^req_[A-Za-z0-9_-]{16}$"},
    },
    "StreamId": {
        "description": "Names the stream, for POST /v1/streams/{id}/cancel and the ledger.",
        "schema": {"type": "string", "pattern": "^st_[A-Za-z0-9_-]{22}$"},
    },
    "RetryAfter": {
        "required": True,
        "description": "Seconds after which it is worth asking again.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
