"""The one shape of errors (CONTRACTS A2, A1.4), held in one place."""

from __future__ import annotations

import json
from typing import Any

from tests.support.http import Reply

# Planted in what an upstream says; seen again at a client or in a log it is a leak.
CANARY = "canary-5d41402abc4b2a76"


def assert_error(answer: Reply, *statuses: int) -> dict[str, Any]:
    """The answer is an error in the documented shape with one of *statuses*; returns its inner object."""
    assert answer.status in statuses, f"{answer.status}: {answer.body[:400]!r}"
    content_type = answer.head.get("Content-Type") or ""
    assert content_type.startswith("application/json"), content_type
    assert answer.head.get("X-Request-Id")
    error = _inner(answer.json)
    assert CANARY.encode() not in answer.body
    return error


def assert_error_event(frame: bytes) -> dict[str, Any]:
    """*frame* is an error event as every SDK understands it; returns its inner object."""
    assert CANARY.encode() not in frame
    return _inner(json.loads(frame.removeprefix(b"data: ")))


def _inner(body: Any) -> dict[str, Any]:
    assert set(body) == {"error"}, body
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert isinstance(error["code"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert "Traceback" not in error["message"]
    return error
