"""GET /api. How its callers ask for a token stands in ``token``."""

from __future__ import annotations

from typing import Final

from streamproxy.openapi.operation import Family, Json, Operation, answer, parameter, ref, struct

TAG: Final = "ChatAPI"

_SCHEMAS: Final[Json] = {
    "ChatApiAnswer": struct({"statu": {"const": True}, "message": {"type": "string"}}, additionalProperties=False),
    "ChatApiError": {
        "oneOf": [
            struct(
                {"statu": {"const": False}, "message": {"type": "string", "minLength": 1}}, additionalProperties=False
            ),
            struct({"msg": {"type": "string", "minLength": 1}}, additionalProperties=False),
        ],
        "description": "`msg` where no good credential was sent.",
    },
}

_OPERATIONS: Final = (
    Operation(
        method="get",
        path="/api",
        id="askChatApi",
        summary="Ask one question",
        description="Answers count towards the day's limit, errors do not.",
        tag=TAG,
        parameters=(
            parameter(
                "query",
                "q",
                "The question.",
                {"type": "string", "minLength": 1, "pattern": r"[^\s\u0000-\u0020\u0085]"},
                required=True,
                example="hello",
            ),
        ),
        answers={200: answer("The answer.", ref("ChatApiAnswer"))},
        errors=(400, 401, 409, 429, 502, 503),
        error="ChatApiError",
        security=[{"chatapi": []}],
    ),
)

FAMILY: Final = Family(TAG, "The question-and-answer service with a daily limit.", _OPERATIONS, _SCHEMAS)
