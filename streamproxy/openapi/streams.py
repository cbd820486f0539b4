"""Streams for EventSource, and sessions."""

from __future__ import annotations

from typing import Final

from streamproxy.domain.streams import EndReason
from streamproxy.openapi.chat import ANSWERING_ERRORS, CHAT_FIELDS, FORMAT, STREAM_HEADERS
from streamproxy.openapi.operation import (
    Family,
    Json,
    Operation,
    answer,
    empty,
    events,
    json_body,
    links,
    or_null,
    parameter,
    ref,
    struct,
)

TAG: Final = "streams"
_STREAM_ID: Final[Json] = {"type": "string", "pattern": "^st_[A-Za-z0-9_-]{22}$"}
# Empty is as good as none.
_EVENT_ID: Final[Json] = {"type": "string", "pattern": r"^(|st_[A-Za-z0-9_-]{22}\.(0|[1-9][0-9]{0,8}))$"}
_SESSION_ID: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"}
_STREAM = parameter(
    "path", "stream_id", "The id that POST /v1/streams answered.", _STREAM_ID, example="st_0123456789abcdefghijkl"
)
_SESSION = parameter("path", "session_id", "What the client calls the conversation.", _SESSION_ID, example="s1")
_LINKS: Final = links("stream_id", "$response.body#/id", "getStream", "readStream", "cancelStream", "endStream")

_SCHEMAS: Final[Json] = {
    "StreamRequest": struct(
        {
            **CHAT_FIELDS,
            "stream": {"description": "Ignored: it is one."},
            "session_id": {"anyOf": [_SESSION_ID, {"type": "null"}]},
            "on_disconnect": {
                "enum": ["cancel", "finish", None],
                "description": "What becomes of it when everybody has left; the settings say what null means.",
            },
        },
        required=["model", "messages"],
        description="A chat request, and what a stream has beside it.",
    ),
    "StreamBegun": struct(
        {
            "id": _STREAM_ID,
            "object": {"const": "stream"},
            "events_url": {"type": "string", "format": "uri-reference"},
            "created": {"type": "integer"},
            "expires_at": {"type": "integer"},
        }
    ),
    "Receipt": struct(
        {
            "id": _STREAM_ID,
            "object": {"const": "stream"},
            "state": {"enum": ["running", "ended"]},
            "created": {"type": "integer"},
            "model": {"type": "string"},
            "session_id": {"type": ["string", "null"]},
            "ttft_ms": or_null("integer"),
            "duration_ms": or_null("integer"),
            "chunks": or_null("integer"),
            "usage": or_null("object"),
            "cost_usd": or_null("string", description="By the price table of its time."),
            "attempts": or_null("integer"),
            "end_reason": {"enum": [*(str(reason) for reason in EndReason), None]},
            "error_code": or_null("string"),
        },
        description="What a stream was; what is not known while it runs is null.",
    ),
    "Session": struct(
        {
            "id": _SESSION_ID,
            "object": {"const": "session"},
            "messages": {"type": "array", "items": {"type": "object"}},
            "expires_at": {"type": "integer"},
        }
    ),
    "SessionForgotten": struct({"id": _SESSION_ID, "object": {"const": "session"}, "deleted": {"const": True}}),
}

_OPERATIONS: Final = (
    Operation(
        method="post",
        path="/v1/streams",
        id="startStream",
        summary="Start a stream that can be resumed",
        description="It generates at once; `new EventSource(events_url)` reads it.",
        tag=TAG,
        parameters=(
            parameter(
                "header",
                "Idempotency-Key",
                "A request repeated with the same key is told of the stream that the first one began.",
                {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"},
            ),
        ),
        body=json_body(
            ref("StreamRequest"), example={"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
        ),
        answers={201: answer("It runs.", ref("StreamBegun"), headers=STREAM_HEADERS, links=_LINKS)},
        errors=ANSWERING_ERRORS,
    ),
    Operation(
        method="get",
        path="/v1/streams/{stream_id}",
        id="getStream",
        summary="Show a stream's receipt",
        tag=TAG,
        parameters=(_STREAM,),
        answers={200: answer("The receipt.", ref("Receipt"))},
        errors=(401, 404, 503),
    ),
    Operation(
        method="get",
        path="/v1/streams/{stream_id}/events",
        id="readStream",
        summary="Read a stream's events, from the beginning or behind one",
        description="At the end `event: done` with the receipt, or `event: failed` with the error.",
        tag=TAG,
        parameters=(
            _STREAM,
            parameter("query", "ticket", "Part of events_url: reads this stream and nothing else.", {"type": "string"}),
            parameter("query", "last_event_id", "Where to go on; the header of that name wins.", _EVENT_ID),
            parameter("header", "Last-Event-ID", "EventSource sends it when it reconnects.", _EVENT_ID),
            FORMAT,
        ),
        answers={
            200: events("The events as they come."),
            204: empty("All events were seen: EventSource stops. As `ai-sdk`: nothing is there to be resumed."),
        },
        errors=(400, 401, 404, 410, 429, 503),
    ),
    Operation(
        method="post",
        path="/v1/streams/{stream_id}/cancel",
        id="cancelStream",
        summary="End a stream, also one of /v1/chat/completions",
        description="Readers get a valid ending with what was said so far. Again, the answer is the same.",
        tag=TAG,
        parameters=(_STREAM,),
        answers={200: answer("The receipt.", ref("Receipt"))},
        errors=(401, 404, 409, 429, 503),
    ),
    Operation(
        method="get",
        path="/v1/sessions/{session_id}",
        id="getSession",
        summary="Show what a session holds",
        tag=TAG,
        parameters=(_SESSION,),
        answers={200: answer("Its messages.", ref("Session"))},
        errors=(400, 401, 404, 503),
    ),
    Operation(
        method="delete",
        path="/v1/sessions/{session_id}",
        id="forgetSession",
        summary="Forget a session",
        tag=TAG,
        parameters=(_SESSION,),
        answers={200: answer("It is gone.", ref("SessionForgotten"))},
        errors=(400, 401, 404, 503),
    ),
)

FAMILY: Final = Family(TAG, "Streams that EventSource can read, leave and resume; sessions.", _OPERATIONS, _SCHEMAS)
