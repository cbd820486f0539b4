"""POST /token, which ChatAPI and the simple chat both have: the body's shape tells them apart."""

from __future__ import annotations

from typing import Final

from streamproxy.openapi.operation import JSON, Family, Json, Operation, answer, ref, struct

TAG: Final = "sign in"
_TEXT: Final[Json] = {"type": "string"}
_FORM = "application/x-www-form-urlencoded"

_SCHEMAS: Final[Json] = {
    "ChatApiSignIn": struct({"u": _TEXT, "p": _TEXT}),
    "PasswordSignIn": struct({"username": _TEXT, "password": _TEXT}),
    "ChatApiToken": struct(
        {
            "statu": {"const": True},
            "message": struct(
                {
                    "username": _TEXT,
                    "token": _TEXT,
                    "expiration_time": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$"},
                }
            ),
        }
    ),
    "AccessToken": struct({"access_token": _TEXT, "token_type": {"const": "bearer"}}),
    "SignInError": {
        "oneOf": [
            struct({"statu": {"const": False}, "message": _TEXT}, additionalProperties=False),
            struct({"detail": _TEXT, "code": _TEXT}, additionalProperties=False),
        ]
    },
}

_OPERATIONS: Final = (
    Operation(
        method="post",
        path="/token",
        id="signIn",
        summary="Name and password in, a token out",
        description="ChatAPI gives out the same token until it expires; the simple chat a new one each time.",
        tag=TAG,
        body={
            "required": True,
            "content": {
                JSON: {
                    "schema": {"anyOf": [ref("ChatApiSignIn"), ref("PasswordSignIn")]},
                    "example": {"u": "alice", "p": "correct horse"},
                },
                _FORM: {
                    "schema": ref("PasswordSignIn"),
                    "example": {"username": "alice", "password": "correct horse"},
                },
            },
        },
        answers={
            200: answer("A token.", {"anyOf": [ref("ChatApiToken"), ref("AccessToken")]}),
            201: answer("ChatAPI's new token.", ref("ChatApiToken")),
        },
        errors=(401, 413, 429, 503),
        error="SignInError",
        public=True,
    ),
)

FAMILY: Final = Family(TAG, "Signing in to the systems that we replace.", _OPERATIONS, _SCHEMAS)
