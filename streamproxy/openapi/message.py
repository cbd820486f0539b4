"""POST /message."""

from __future__ import annotations

from typing import Final

from streamproxy.openapi.operation import Family, Json, Operation, answer, json_body, or_null, ref, struct

TAG: Final = "message"

_SCHEMAS: Final[Json] = {
    "MessageRequest": struct(
        {
            "msg": {"type": "string", "minLength": 1},
            "openid": {"type": "string", "minLength": 1, "maxLength": 128},
            "conversationid": or_null("string", pattern="^[!-~]{1,64}$", description="A session of 30 minutes."),
            "msgcache": {"description": "Ignored: the context is the session's."},
        },
        required=["msg", "openid"],
    ),
    "MessageAnswer": struct(
        {
            "resmsg": struct(
                {"choices": {"type": "array", "items": struct({"text": {"type": "string"}})}},
                description="The upstream's whole object, with the choices of a text completion.",
            ),
            "num": {"type": "integer", "description": "Questions left after this one."},
            "code": {"const": 200},
        }
    ),
    "MessageError": struct(
        {"adj": {"const": "接口执行错误"}, "code": {"const": 444}, "errinfo": {"type": "string", "minLength": 1}},
        additionalProperties=False,
        description="What went wrong, for people. The status is the honest one unless a setting says otherwise.",
    ),
}

_OPERATIONS: Final = (
    Operation(
        method="post",
        path="/message",
        id="sendMessage",
        summary="Ask one question",
        description="The `openid` must be that of the credential's own user.",
        tag=TAG,
        body=json_body(ref("MessageRequest"), example={"msg": "hello", "openid": "wx-1"}),
        answers={200: answer("The answer.", ref("MessageAnswer"))},
        errors=(400, 401, 403, 404, 409, 413, 415, 429, 502, 503, 504),
        error="MessageError",
    ),
)

FAMILY: Final = Family(TAG, "The chat program's backend that took one question at a time.", _OPERATIONS, _SCHEMAS)
