"""The admin API. Its schemas are generated from the structs that the handlers read and write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from streamproxy.openapi.operation import (
    Family,
    Json,
    Operation,
    answer,
    empty,
    json_body,
    links,
    parameter,
    ref,
    struct,
)
from streamproxy.wire import admin as wire

TAG: Final = "admin"
_ID: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_DAY: Final[Json] = {"type": "string", "format": "date"}
_STRUCTS: Final = (
    wire.NewUser,
    wire.UserPatch,
    wire.NewApiToken,
    wire.NewBearer,
    wire.NewKey,
    wire.KeyPatch,
    wire.UserView,
    wire.ApiTokenView,
    wire.IssuedApiTokenView,
    wire.BearerView,
    wire.RevokedBearersView,
    wire.UsageView,
    wire.StreamView,
    wire.CancelledView,
    wire.KeyView,
    wire.ProbeView,
    wire.FailureView,
    wire.LimitsView,
)


def _list_of(view: type[msgspec.Struct], **more: Json) -> Json:
    return struct(
        {
            "object": {"const": "list"},
            "data": {"type": "array", "items": ref(view.__name__)},
            "has_more": {"type": "boolean"},
            "last_id": {"type": ["string", "null"], "description": "The `after` of the next page."},
            **more,
        },
        additionalProperties=False,
    )


_SCHEMAS: Final[Json] = {
    **msgspec.json.schema_components(_STRUCTS, ref_template="#/components/schemas/{name}")[1],
    "UserList": _list_of(wire.UserView),
    "ApiTokenList": _list_of(wire.ApiTokenView),
    "KeyList": _list_of(wire.KeyView, reachable={"type": "boolean", "description": "false: states are not known now."}),
    "UsageList": _list_of(wire.UsageView),
    "FailureList": _list_of(wire.FailureView),
    "StreamList": _list_of(
        wire.StreamView, complete={"type": "boolean", "description": "false: only those of one worker are known now."}
    ),
}

_LIMIT = parameter(
    "query", "limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": 500, "default": 100}
)
_AFTER = parameter("query", "after", "The last_id of the page before.", {"type": "string"})
_USER = parameter("query", "user_id", "Only of this user.", _ID)


def _path(name: str, description: str, example: str) -> Json:
    return parameter("path", name, description, _ID, example=example)


_USER_ID = _path("user_id", "A user's id.", "u_0123456789abcdef")
_KEY_ID = _path("key_id", "A key's id.", "0123456789abcdef01234567")


def _operation(
    method: str,
    path: str,
    name: str,
    summary: str,
    answers: dict[int, Json],
    *,
    body: Json | None = None,
    errors: Sequence[int] = (),
    **more: Any,
) -> Operation:
    # 400 everywhere: a query field that a path does not know is refused.
    possible = {400, 401, 403, 503, *errors, *((413, 415) if body else ())}
    return Operation(
        method=method,
        path=f"/admin/{path}",
        id=name,
        summary=summary,
        tag=TAG,
        answers=answers,
        body=body,
        errors=sorted(possible),
        **more,
    )


_OPERATIONS: Final = (
    _operation(
        "get",
        "users",
        "listUsers",
        "List accounts by name",
        {200: answer("A page.", ref("UserList"))},
        parameters=(_LIMIT, _AFTER),
        errors=(404,),
    ),
    _operation(
        "post",
        "users",
        "addUser",
        "Make an account",
        {
            201: answer(
                "It is made.",
                ref("UserView"),
                links=links("user_id", "$response.body#/id", "getUser", "changeUser", "issueBearer", "revokeBearers"),
            )
        },
        body=json_body(ref("NewUser"), example={"name": "alice", "role": "user", "questions": 100}),
        errors=(409, 429),
    ),
    _operation(
        "get",
        "users/{user_id}",
        "getUser",
        "Show an account",
        {200: answer("The account.", ref("UserView"))},
        parameters=(_USER_ID,),
        errors=(404,),
    ),
    _operation(
        "patch",
        "users/{user_id}",
        "changeUser",
        "Disable or enable an account, change its role, password or questions",
        {200: answer("The account as it is now.", ref("UserView"))},
        parameters=(_USER_ID,),
        body=json_body(ref("UserPatch"), example={"disabled": True}),
        errors=(404, 409, 429),
        description="Who is disabled or gets a new password is signed out everywhere. Nobody disables themselves.",
    ),
    _operation(
        "post",
        "users/{user_id}/bearers",
        "issueBearer",
        "Issue a bearer",
        {201: answer("It is shown this once.", ref("BearerView"))},
        parameters=(_USER_ID,),
        body=json_body(ref("NewBearer"), example={"days": 7}),
        errors=(404, 409),
    ),
    _operation(
        "delete",
        "users/{user_id}/bearers",
        "revokeBearers",
        "Revoke all bearers of a user",
        {200: answer("They are gone.", ref("RevokedBearersView"))},
        parameters=(_USER_ID,),
        errors=(404,),
    ),
    _operation(
        "get",
        "tokens",
        "listApiTokens",
        "List API tokens as they were made, revoked ones included",
        {200: answer("A page.", ref("ApiTokenList"))},
        parameters=(_LIMIT, _AFTER, _USER),
    ),
    _operation(
        "post",
        "tokens",
        "issueApiToken",
        "Issue an API token",
        {
            201: answer(
                "It is shown this once.",
                ref("IssuedApiTokenView"),
                links=links("token_id", "$response.body#/id", "revokeApiToken"),
            )
        },
        body=json_body(ref("NewApiToken"), example={"user_id": "u_0123456789abcdef", "label": "laptop"}),
        errors=(404, 409),
    ),
    _operation(
        "delete",
        "tokens/{token_id}",
        "revokeApiToken",
        "Revoke an API token",
        {204: empty("It opens nothing any more.")},
        parameters=(_path("token_id", "An API token's id.", "t_0123456789abcdef"),),
        errors=(404,),
    ),
    _operation(
        "get",
        "keys",
        "listKeys",
        "List provider keys by their last four characters",
        {200: answer("A page.", ref("KeyList"))},
        parameters=(_LIMIT, _AFTER),
        errors=(404,),
    ),
    _operation(
        "post",
        "keys",
        "addKey",
        "Add a provider key, which is kept encrypted",
        {
            201: answer(
                "It is used within seconds.",
                ref("KeyView"),
                links=links("key_id", "$response.body#/id", "getKey", "changeKey", "probeKey", "removeKey"),
            )
        },
        body=json_body(ref("NewKey"), example={"upstream": "default", "key": "sk-0123456789abcdef"}),
        errors=(404, 409),
    ),
    _operation(
        "get",
        "keys/{key_id}",
        "getKey",
        "Show how a key stands",
        {200: answer("The key.", ref("KeyView"))},
        parameters=(_KEY_ID,),
        errors=(404,),
    ),
    _operation(
        "patch",
        "keys/{key_id}",
        "changeKey",
        "Take a key out of use or put it back",
        {200: answer("The key as it is now.", ref("KeyView"))},
        parameters=(_KEY_ID,),
        body=json_body(ref("KeyPatch"), example={"disabled": True}),
        errors=(404,),
    ),
    _operation(
        "delete",
        "keys/{key_id}",
        "removeKey",
        "Forget a key that was added",
        {204: empty("It is gone.")},
        parameters=(_KEY_ID,),
        errors=(404, 409),
    ),
    _operation(
        "post",
        "keys/{key_id}/probe",
        "probeKey",
        "Ask the provider whether a key works",
        {200: answer("What it said.", ref("ProbeView"))},
        parameters=(_KEY_ID,),
        errors=(404, 409),
    ),
    _operation(
        "get",
        "usage",
        "listUsage",
        "Who used what, by UTC day, user and model",
        {200: answer("A page.", ref("UsageList"))},
        description="Without days the last thirty.",
        parameters=(
            parameter("query", "from", "First UTC day.", _DAY, example="2026-01-01"),
            parameter("query", "to", "Last UTC day, included.", _DAY, example="2026-01-31"),
            _USER,
            _LIMIT,
            _AFTER,
        ),
        errors=(404,),
    ),
    _operation(
        "get",
        "failures",
        "listFailures",
        "What ended with an error, the newest first",
        {200: answer("A page.", ref("FailureList"))},
        description="Of the last seven days.",
        parameters=(_LIMIT, _AFTER),
        errors=(404,),
    ),
    _operation(
        "get",
        "limits",
        "showLimits",
        "Show what each user may use",
        {200: answer("The limits in force.", ref("LimitsView"))},
    ),
    _operation(
        "get",
        "streams",
        "listStreams",
        "What runs now, on all workers",
        {200: answer("A page.", ref("StreamList"))},
        parameters=(_LIMIT, _AFTER, _USER),
    ),
    _operation(
        "delete",
        "streams/{stream_id}",
        "endStream",
        "End a running stream",
        {202: answer("It ends: at once on one worker, within two seconds on another.", ref("CancelledView"))},
        description="Its client gets a valid ending with what was said so far.",
        parameters=(_path("stream_id", "A stream's id.", "st_0123456789abcdefghijkl"),),
        errors=(404,),
    ),
)

FAMILY: Final = Family(TAG, "For principals with the role admin: what the commands do.", _OPERATIONS, _SCHEMAS)
