"""Conversations in the history, and who asks. Schemas of the structs that the handlers write."""

from __future__ import annotations

from typing import Final

import msgspec

from streamproxy.openapi.operation import (
    Family,
    Json,
    Operation,
    answer,
    json_body,
    links,
    parameter,
    ref,
    struct,
)
from streamproxy.wire import sessions as wire

TAG: Final = "conversations"
_SESSION_ID: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"}
_STREAM_ID: Final[Json] = {"type": "string", "pattern": "^st_[A-Za-z0-9_-]{22}$"}
_SESSION: Final = parameter("path", "session_id", "What the client calls the conversation.", _SESSION_ID, example="s1")
_LIMIT: Final = parameter(
    "query", "limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": 500, "default": 100}
)


def _after(last_id: Json) -> Json:
    either = {"anyOf": [last_id, {"const": ""}]}
    return parameter("query", "after", "The last_id of the page before; empty for the first page.", either)


def _list_of(name: str) -> Json:
    return struct(
        {
            "object": {"const": "list"},
            "data": {"type": "array", "items": ref(name)},
            "has_more": {"type": "boolean"},
            "last_id": {"type": ["string", "null"], "description": "The `after` of the next page."},
        },
        additionalProperties=False,
    )


_SCHEMAS: Final[Json] = {
    **msgspec.json.schema_components(
        (wire.ConversationView, wire.MessageView, wire.PrincipalView, wire.SignIn),
        ref_template="#/components/schemas/{name}",
    )[1],
    "ConversationList": _list_of("ConversationView"),
    "MessageList": _list_of("MessageView"),
    "TurnForgotten": struct({"id": _STREAM_ID, "object": {"const": "session.turn"}, "deleted": {"const": True}}),
    "SignedOut": struct({"object": {"const": "principal.signed_out"}}),
}

_OPERATIONS: Final = (
    Operation(
        method="get",
        path="/v1/sessions",
        id="listSessions",
        summary="List conversations, the one spoken in last first",
        description="From the lasting history, whether or not the model still remembers them.",
        tag=TAG,
        parameters=(_LIMIT, _after(_SESSION_ID)),
        answers={200: answer("A page.", ref("ConversationList"))},
        errors=(400, 401, 404, 503),
    ),
    Operation(
        method="get",
        path="/v1/sessions/{session_id}/messages",
        id="listMessages",
        summary="List what was said in a conversation, the newest first",
        tag=TAG,
        parameters=(
            _SESSION,
            _LIMIT,
            _after({"type": "string", "pattern": r"^st_[A-Za-z0-9_-]{1,61}\.[0-9]{1,6}$"}),
        ),
        answers={
            200: answer(
                "A page; empty for a conversation nobody knows.",
                ref("MessageList"),
                links=links("stream_id", "$response.body#/data/0/stream_id", "forgetTurns"),
            )
        },
        errors=(400, 401, 404, 503),
    ),
    Operation(
        method="delete",
        path="/v1/sessions/{session_id}/turns/{stream_id}",
        id="forgetTurns",
        summary="Take back a turn and all after it",
        description="The next question follows the turn before it. What was said stays in the history, of no session.",
        tag=TAG,
        parameters=(
            _SESSION,
            parameter("path", "stream_id", "The turn's stream.", _STREAM_ID, example="st_0123456789abcdefghijkl"),
        ),
        answers={200: answer("They are gone.", ref("TurnForgotten"))},
        errors=(400, 401, 404, 503),
    ),
    Operation(
        method="get",
        path="/v1/me",
        id="getPrincipal",
        summary="Show whose credential this is",
        tag=TAG,
        answers={200: answer("The principal.", ref("PrincipalView"))},
        errors=(401, 503),
    ),
    Operation(
        method="post",
        path="/signin",
        id="signInPage",
        summary="Sign the server's own page in",
        description="Sets a cookie that scripts cannot read. Other programs use POST /token.",
        tag=TAG,
        body=json_body(ref("SignIn"), example={"name": "alice", "password": "correct horse"}),
        answers={200: answer("The cookie is set.", ref("PrincipalView"))},
        errors=(400, 401, 403, 413, 415, 429, 503),
        public=True,
    ),
    Operation(
        method="post",
        path="/signout",
        id="signOutPage",
        summary="Sign the server's own page out",
        tag=TAG,
        answers={200: answer("The cookie opens nothing any more.", ref("SignedOut"))},
        errors=(403, 503),
        public=True,
    ),
)

FAMILY: Final = Family(TAG, "Conversations in the history; who asks.", _OPERATIONS, _SCHEMAS)
