"""POST /v1/chat/completions. Unknown fields are legal everywhere: they go upstream as they are."""

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
    links,
    or_null,
    parameter,
    ref,
    struct,
)
from streamproxy.wire.body import MAX_MODEL_LENGTH
from streamproxy.wire.chat.request import MAX_CHOICES, MAX_MESSAGES, MAX_REPLY_TOKENS

TAG: Final = "chat"

MODEL: Final[Json] = {"type": "string", "minLength": 1, "maxLength": MAX_MODEL_LENGTH, "format": "line"}
SESSION_ID: Final = parameter(
    "header",
    "X-Session-Id",
    "Makes the call a turn of this conversation, whose context is put before it.",
    {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
)
STREAM_HEADERS: Final[Json] = {"X-Stream-Id": {"$ref": "#/components/headers/StreamId"}}
# What may stop a request on its way to an answer.
ANSWERING_ERRORS: Final = (400, 401, 404, 409, 413, 415, 429, 502, 503, 504)

CHAT_FIELDS: Final[Json] = {
    "model": MODEL,
    "messages": {"type": "array", "minItems": 1, "maxItems": MAX_MESSAGES, "items": ref("Message")},
    "stream": or_null("boolean", description="Whether the answer comes as server-sent events."),
    "stream_options": or_null("object", properties={"include_usage": or_null("boolean")}),
    "max_tokens": or_null("integer", minimum=1, maximum=MAX_REPLY_TOKENS),
    "max_completion_tokens": or_null("integer", minimum=1, maximum=MAX_REPLY_TOKENS),
    "n": or_null("integer", minimum=1, maximum=MAX_CHOICES),
}

_SCHEMAS: Final[Json] = {
    "Message": struct(
        {
            "role": {"type": "string", "minLength": 1, "examples": ["system", "user", "assistant", "tool"]},
            "content": {"type": ["string", "array", "null"], "items": {"type": "object"}},
            "tool_calls": or_null("array", items={"type": "object"}),
        },
        required=["role"],
    ),
    "ChatRequest": struct(
        CHAT_FIELDS,
        required=["model", "messages"],
        description="As OpenAI has it; fields that are not named here are passed on.",
    ),
    "Event": struct(
        {"data": {"type": "string"}, "event": {"type": "string"}, "id": {"type": "string"}},
        required=["data"],
        description="One server-sent event. Its data is JSON or `[DONE]`.",
    ),
    "ChatCompletion": struct(
        {
            "id": {"type": "string"},
            "object": {"type": "string"},
            "created": {"type": "integer"},
            "model": {"type": "string"},
            "choices": {"type": "array", "items": {"type": "object"}},
            "usage": {"type": "object"},
        },
        required=["choices"],
        description="The upstream's answer as it came.",
    ),
}

FORMAT: Final = parameter(
    "query",
    "format",
    "`ai-sdk`: the events are a UI message stream, as the Vercel AI SDK's useChat reads it. A chat must ask for "
    '`"stream": true`.',
    {"const": "ai-sdk"},
)

_WHOLE = answer(
    'The answer: JSON, or with `"stream": true` events, each a chunk, the last one `[DONE]`. '
    "An error behind the first event is an event too.",
    ref("ChatCompletion"),
    headers=STREAM_HEADERS,
    links=links("session_id", "$request.header.X-Session-Id", "getSession", "forgetSession"),
)
_STREAMED = events("The same, streamed.")

_OPERATIONS: Final = (
    Operation(
        method="post",
        path="/v1/chat/completions",
        id="createChatCompletion",
        summary="Answer a conversation",
        tag=TAG,
        parameters=(
            SESSION_ID,
            parameter(
                "header",
                "X-Resumable",
                "With 1 a stream is recorded, goes on when the client leaves, and can be read at /v1/streams/{id}.",
                {"type": "string"},
            ),
            FORMAT,
        ),
        body=json_body(
            ref("ChatRequest"),
            example={"model": "demo", "stream": True, "messages": [{"role": "user", "content": "Hello"}]},
        ),
        answers={200: either(_WHOLE, _STREAMED)},
        errors=ANSWERING_ERRORS,
    ),
)

FAMILY: Final = Family(TAG, "Chat completions, as OpenAI's clients ask for them.", _OPERATIONS, _SCHEMAS)
