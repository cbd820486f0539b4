"""The request for a chat completion: checked where we rely on it, otherwise passed on as it came.

Whatever bytes come in, the outcome is a ``ChatRequest`` that can be encoded again, or a
BadRequestError that names the field at fault: no other exception, no unbounded recursion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from streamproxy.errors import BadRequestError
from streamproxy.wire.body import MAX_MODEL_LENGTH, decoded, integer, model_name, typed
from streamproxy.wire.chat.messages import Message, SpelledMessages

# A conversation of 256 questions and answers; each message costs a tokenizer call, and windows end long before.
MAX_MESSAGES: Final = 512
MAX_CHOICES: Final = 128  # OpenAI's own bound on ``n``
# No model's window comes near. The bound keeps sums exact where numbers are doubles (Lua, JavaScript).
MAX_REPLY_TOKENS: Final = 10**9


class ChatRequest(msgspec.Struct, frozen=True):
    """What a client asks for. *reply_tokens* is its bound on the answer; *fields* the whole body, decoded."""

    model: str
    messages: tuple[Message, ...]
    stream: bool
    include_usage: bool
    reply_tokens: int | None
    fields: Mapping[str, Any]


class _Message(msgspec.Struct, gc=False):
    role: Annotated[str, Meta(min_length=1)]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _Right(msgspec.Struct):
    """What ``_checked`` finds nothing wrong with, as msgspec looks at it in one go."""

    model: Annotated[str, Meta(min_length=1, max_length=MAX_MODEL_LENGTH)]
    messages: Annotated[list[_Message], Meta(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=MAX_REPLY_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=MAX_REPLY_TOKENS)] | None = None


def parse_request(body: bytes) -> ChatRequest:
    """Read the JSON *body*. BadRequestError with ``param`` for everything that is not a chat request."""
    fields = decoded(body)
    try:
        right = msgspec.convert(fields, _Right)
    except msgspec.ValidationError:
        return _checked(fields)
    if not right.model.isprintable():
        return _checked(fields)
    options = right.stream_options
    return ChatRequest(
        model=right.model,
        messages=tuple(fields["messages"]),
        stream=right.stream is True,
        include_usage=options is not None and options.include_usage is True,
        reply_tokens=right.max_completion_tokens or right.max_tokens,
        fields=fields,
    )


def _checked(fields: dict[str, Any]) -> ChatRequest:
    """Looks at one field after the other, and names the first that is wrong."""
    model = model_name(fields)
    messages = _messages(fields)
    options = typed(fields, "stream_options", dict, "an object") or {}
    integer(fields, "n", MAX_CHOICES)
    max_tokens = integer(fields, "max_tokens", MAX_REPLY_TOKENS)
    return ChatRequest(
        model=model,
        messages=messages,
        stream=bool(typed(fields, "stream", bool, "a boolean")),
        include_usage=bool(typed(options, "include_usage", bool, "a boolean", within="stream_options.")),
        reply_tokens=integer(fields, "max_completion_tokens", MAX_REPLY_TOKENS) or max_tokens,
        fields=fields,
    )


def new_request(model: str, messages: Sequence[Message], *, stream: bool = False) -> ChatRequest:
    """A request that no client wrote as such."""
    return ChatRequest(
        model=model,
        messages=tuple(messages),
        stream=stream,
        include_usage=False,
        reply_tokens=None,
        fields={"model": model, "messages": list(messages), "stream": stream},
    )


# How a body begins whose first field are its messages.
_BEGINNING: Final = b'{"messages":['


def encode_request(
    request: ChatRequest, *, model: str, messages: Sequence[Message], ask_usage: bool
) -> tuple[bytes, ...]:
    """The body for an upstream, in pieces: all fields as received but *model* and *messages*.

    A stream is asked for its usage when *ask_usage* is set, whatever the client asked.
    """
    fields = {"messages": (), **request.fields, "model": model}
    if request.stream and ask_usage:
        fields["stream_options"] = {**(request.fields.get("stream_options") or {}), "include_usage": True}
    if not isinstance(messages, SpelledMessages):
        fields["messages"] = [*messages]
        return (msgspec.json.encode(fields),)
    # What was said earlier is put in front of what is new: as a piece of its own it is copied once, when all is sent.
    new = fields["messages"] = [*messages.new]
    pieces = [_BEGINNING]
    for message in messages.head:
        pieces += (msgspec.json.encode(message), b",")
    rest = msgspec.json.encode(fields)[len(_BEGINNING) :]
    return (*pieces, messages.earlier, b"," if new else b"", rest)


def _messages(fields: dict[str, Any]) -> tuple[Message, ...]:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("messages is required: an array of at least one message", param="messages")
    if len(messages) > MAX_MESSAGES:
        raise BadRequestError(f"messages may hold at most {MAX_MESSAGES}, not {len(messages)}", param="messages")
    for position, message in enumerate(messages):
        _check_message(message, f"messages[{position}]")
    return tuple(messages)


def _check_message(message: Any, where: str) -> None:
    if not isinstance(message, dict):
        raise BadRequestError(f"{where} must be an object with role and content", param=where)
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise BadRequestError(f"{where}.role is required: a string such as user", param=f"{where}.role")
    content = message.get("content")
    if not isinstance(content, str | None) and not _is_objects(content):
        raise BadRequestError(
            f"{where}.content must be a string, an array of content parts or null", param=f"{where}.content"
        )
    calls = message.get("tool_calls")
    if calls is not None and not _is_objects(calls):
        raise BadRequestError(f"{where}.tool_calls must be an array of objects", param=f"{where}.tool_calls")


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
