"""POST /pro/chat/completions and GET /pro/balance."""

from __future__ import annotations

from typing import Final

from streamproxy.openapi.operation import (
    Family,
    Json,
    Operation,
    answer,
    either,
    events,
    json_body,
    or_null,
    parameter,
    ref,
    struct,
)

TAG: Final = "pro"
LONGEST_SESSION: Final = 64
LONGEST_CONTENT: Final = 1000
_DONE: Final[Json] = {"code": {"const": 200}, "message": {"const": "执行成功"}}
_MONEY: Final[Json] = {"type": "number", "description": "USD, two places."}

_SCHEMAS: Final[Json] = {
    "ProRequest": struct(
        {
            "apiKey": or_null(
                "string", description="One of our API tokens; a bearer beside it must be the same user's."
            ),
            "sessionId": {"type": "string", "minLength": 1, "maxLength": LONGEST_SESSION},
            "content": {"type": "string", "minLength": 1, "maxLength": LONGEST_CONTENT},
            "stream": or_null("boolean"),
        },
        required=["sessionId", "content"],
    ),
    "ProAnswer": struct({**_DONE, "data": {"type": "string"}}),
    "ProBalance": struct({**_DONE, "data": struct({"total": _MONEY, "balance": _MONEY, "used": _MONEY})}),
    "ProError": struct(
        {
            "code": {"type": "integer", "description": "The HTTP status."},
            "message": {"type": "string", "minLength": 1},
            "data": {"type": "null"},
        },
        additionalProperties=False,
    ),
}

_ANSWER = answer('The answer; with `"stream": true` the events of /v1/chat/completions.', ref("ProAnswer"))
_OPERATIONS: Final = (
    Operation(
        method="post",
        path="/pro/chat/completions",
        id="askPro",
        summary="Ask in a session of 30 minutes",
        tag=TAG,
        body=json_body(ref("ProRequest"), example={"sessionId": "s1", "content": "hello"}),
        answers={200: either(_ANSWER, events("The same, streamed."))},
        errors=(400, 401, 404, 409, 413, 415, 429, 502, 503, 504),
        error="ProError",
        security=[{"bearer": []}, {}],
    ),
    Operation(
        method="get",
        path="/pro/balance",
        id="getProBalance",
        summary="Show what was granted, is used and is left",
        tag=TAG,
        parameters=(
            parameter("query", "apiKey", "One of our API tokens; better send it as a bearer.", {"type": "string"}),
        ),
        answers={200: answer("The balance.", ref("ProBalance"))},
        errors=(400, 401, 503),
        error="ProError",
        security=[{"bearer": []}, {}],
    ),
)

FAMILY: Final = Family(TAG, "Sessions by name, and the balance.", _OPERATIONS, _SCHEMAS)
