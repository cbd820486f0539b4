"""The simple chat. How its callers sign in stands in ``token``."""

from __future__ import annotations

from typing import Final

from streamproxy.openapi.chat import MODEL
from streamproxy.openapi.operation import (
    Family,
    Json,
    Operation,
    answer,
    json_body,
    or_null,
    parameter,
    ref,
    struct,
)

TAG: Final = "simple chat"
MOST_ROWS: Final = 200
_ANSWERING_ERRORS: Final = (401, 403, 404, 409, 413, 415, 422, 429, 502, 503, 504)
_OWN_NAME = parameter("query", "username", "The caller's own name, or nothing.", {"type": "string"})

_SCHEMAS: Final[Json] = {
    "NewAccount": struct(
        {
            "username": {"type": "string", "minLength": 1, "maxLength": 64, "format": "trimmed-line"},
            "email": {"type": "string", "minLength": 3, "maxLength": 254, "format": "address"},
            "password": {"type": "string", "minLength": 1, "maxLength": 1024},
        }
    ),
    "Account": struct({"username": {"type": "string"}, "email": {"type": "string"}}),
    "SimpleQuestion": struct(
        {
            "message": {"type": "string", "minLength": 1},
            "username": or_null("string", description="The caller's own name, or nothing."),
            "model": {"anyOf": [MODEL, {"type": "null"}]},
        },
        required=["message"],
    ),
    "SimpleAnswer": struct({"response": {"type": "string"}, "message": {"type": "string"}}),
    "Remarks": {
        "type": "array",
        "maxItems": MOST_ROWS,
        "items": struct({"type": {"enum": ["user", "ai"]}, "text": {"type": "string"}}),
    },
    "ChatStatus": struct({"username": {"type": "string"}, "chat_cnt": {"type": "integer", "minimum": 0}}),
    "Report": struct({"message": {"type": "string", "description": "Markdown. Untrusted: a model wrote it."}}),
    "SimpleError": struct(
        {"detail": {"type": "string", "minLength": 1}, "code": {"type": "string"}}, additionalProperties=False
    ),
}


def _message(path: str, operation: str, summary: str) -> Operation:
    return Operation(
        method="post",
        path=path,
        id=operation,
        summary=summary,
        tag=TAG,
        parameters=(_OWN_NAME,),
        body=json_body(ref("SimpleQuestion"), example={"message": "hello"}),
        answers={200: answer("The answer, twice.", ref("SimpleAnswer"))},
        errors=_ANSWERING_ERRORS,
        error="SimpleError",
    )


_OPERATIONS: Final = (
    Operation(
        method="post",
        path="/user/",
        id="register",
        summary="Make an account of one's own",
        tag=TAG,
        body=json_body(
            ref("NewAccount"), example={"username": "alice", "email": "alice@example.org", "password": "correct horse"}
        ),
        answers={200: answer("It is made.", ref("Account"))},
        errors=(403, 409, 413, 415, 422, 429, 503),
        error="SimpleError",
        public=True,
    ),
    _message("/llm/message", "sendSimpleMessage", "Ask one question"),
    _message("/llm/message/advanced", "sendAdvancedMessage", "Ask; the answer attends to the writer's feelings first"),
    Operation(
        method="get",
        path="/user/history/{last_n}",
        id="getHistory",
        summary="Show the newest questions and answers, oldest first",
        tag=TAG,
        parameters=(
            parameter(
                "path",
                "last_n",
                "How many.",
                {"type": "integer", "minimum": 0, "maximum": MOST_ROWS},
                example=10,
            ),
            _OWN_NAME,
        ),
        answers={200: answer("The rows.", ref("Remarks"))},
        errors=(401, 403, 422, 503),
        error="SimpleError",
    ),
    Operation(
        method="get",
        path="/user/status",
        id="getStatus",
        summary="Count today's messages",
        tag=TAG,
        parameters=(_OWN_NAME,),
        answers={200: answer("The count.", ref("ChatStatus"))},
        errors=(401, 403, 503),
        error="SimpleError",
    ),
    Operation(
        method="get",
        path="/user/report",
        id="getReport",
        summary="Let the model report on one's own history",
        tag=TAG,
        parameters=(_OWN_NAME,),
        answers={200: answer("The report.", ref("Report"))},
        errors=(401, 403, 404, 409, 429, 502, 503, 504),
        error="SimpleError",
    ),
)

FAMILY: Final = Family(TAG, "The chat service with history, status and report.", _OPERATIONS, _SCHEMAS)
