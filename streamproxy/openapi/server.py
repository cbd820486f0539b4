"""What is about the server itself: health, metrics, the page, this document."""

from __future__ import annotations

from typing import Any, Final

from streamproxy.openapi.operation import Family, Json, Operation, answer, parameter, ref, struct

TAG: Final = "server"

_SCHEMAS: Final[Json] = {
    "Health": struct({"status": {"const": "alive"}}),
    "Readiness": struct(
        {
            "status": {"enum": ["ready", "not ready", "draining"]},
            "away": {"type": "object", "additionalProperties": {"type": "string"}},
        }
    ),
}


def _get(path: str, operation: str, summary: str, answers: dict[int, Json], **more: Any) -> Operation:
    return Operation(
        method="get", path=path, id=operation, summary=summary, tag=TAG, answers=answers, public=True, **more
    )


def _text(description: str, *kinds: str) -> Json:
    return {"description": description, "content": {kind: {"schema": {"type": "string"}} for kind in kinds}}


_OPERATIONS: Final = (
    _get("/healthz", "isAlive", "Is the process alive?", {200: answer("It is.", ref("Health"))}),
    _get(
        "/readyz",
        "isReady",
        "Are new requests welcome?",
        {200: answer("They are.", ref("Readiness")), 503: answer("They are not.", ref("Readiness"))},
    ),
    _get("/metrics", "getMetrics", "Prometheus metrics", {200: _text("The metrics.", "text/plain")}),
    _get("/", "getPage", "The chat page", {200: _text("The page.", "text/html")}),
    _get("/admin/ui", "getOperatorPage", "The operator's page", {200: _text("The page.", "text/html")}),
    _get(
        "/static/{name}",
        "getPageFile",
        "A file of the chat page",
        {200: _text("The file.", "text/html", "text/css", "text/javascript", "image/svg+xml")},
        parameters=(
            parameter("path", "name", "Its name.", {"type": "string", "pattern": "^[a-z0-9.-]+$"}, example="style.css"),
        ),
        errors=(404,),
    ),
    _get("/openapi.json", "getOpenApi", "This document", {200: answer("The document.", {"type": "object"})}),
    _get("/docs", "getDocs", "This document, to be read", {200: _text("The page.", "text/html")}),
)

FAMILY: Final = Family(TAG, "Health, metrics, the chat page and this document.", _OPERATIONS, _SCHEMAS)
