"""Requests that one JSON object answers and that are passed on as they came: pictures and embeddings.

https://platform.openai.com/docs/api-reference/images/create and .../embeddings/create. Checked is what we rely
on and what cannot be meant; fields that nobody here knows go upstream untouched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, TypeAlias

import msgspec

from streamproxy.errors import BadRequestError
from streamproxy.wire.body import UNREADABLE, decoded, integer, model_name, typed
from streamproxy.wire.chat import ChatRequest, Message

# gpt-image-1 reads 32,000 characters, the models before it fewer.
MAX_PROMPT: Final = 32_000
MAX_PICTURES: Final = 10
# OpenAI's bound on the inputs of one call, and more tokens than any embedding model reads at once.
MAX_INPUTS: Final = 2048
MAX_INPUT_TOKENS: Final = 300_000
MAX_DIMENSIONS: Final = 65_536
_SIZE = re.compile(r"[1-9]\d{1,3}x[1-9]\d{1,3}")


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """*path* is the upstream's, behind its base URL; *fields* is the whole body, decoded.

    *messages* are the texts a model reads here, as a chat would have them; *tokens* is the size of an input that
    came as tokens. *answers* is the member of the answer that holds what was asked for, *pictures* that it is those.
    """

    path: str
    model: str
    messages: tuple[Message, ...]
    fields: Mapping[str, Any]
    tokens: int | None = None
    answers: str = "data"
    pictures: bool = False

    # What a chat request has to choose.
    stream: ClassVar[Literal[False]] = False
    reply_tokens: ClassVar[int] = 0


AnyRequest: TypeAlias = ChatRequest | PlainRequest
"""Everything that an upstream can be asked for."""


def parse_images(body: bytes, *, default_model: str) -> PlainRequest:
    """Read a request for pictures, of *default_model* when it names none. BadRequestError with ``param``."""
    fields = decoded(body)
    if fields.get("model") is None:
        fields["model"] = default_model
    model = model_name(fields)
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not 1 <= len(prompt) <= MAX_PROMPT:
        raise BadRequestError(f"prompt is required: 1 to {MAX_PROMPT} characters", param="prompt")
    integer(fields, "n", MAX_PICTURES)
    size = typed(fields, "size", str, "a string")
    if size is not None and size != "auto" and _SIZE.fullmatch(size) is None:
        raise BadRequestError("size must be WIDTHxHEIGHT in pixels, such as 1024x1024, or auto, or null", param="size")
    _one_of(fields, "response_format", ("url", "b64_json"))
    if typed(fields, "stream", bool, "a boolean"):
        raise BadRequestError("stream must be false: pictures come in one piece here", param="stream")
    return PlainRequest("/images/generations", model, (_user(prompt),), fields, pictures=True)


def parse_embeddings(body: bytes) -> PlainRequest:
    """Read a request for embeddings. BadRequestError with ``param``."""
    fields = decoded(body)
    model = model_name(fields)
    texts, tokens = _inputs(fields.get("input"))
    integer(fields, "dimensions", MAX_DIMENSIONS)
    _one_of(fields, "encoding_format", ("float", "base64"))
    return PlainRequest("/embeddings", model, tuple(map(_user, texts)), fields, tokens=tokens)


def encode_plain(request: PlainRequest, *, model: str) -> bytes:
    """The body for an upstream: all fields as received but *model*."""
    return msgspec.json.encode({**request.fields, "model": model})


def count_choices(body: bytes) -> int | None:
    """How many choices a chat's answer brought; None when it is none, or cannot be read to its end."""
    try:
        answer = msgspec.json.decode(body)
    except UNREADABLE:
        return None
    choices = answer.get("choices") if isinstance(answer, dict) else None
    return len(choices) if isinstance(choices, list) else None


def count_answers(body: bytes, member: str) -> int | None:
    """How many things an answer brought in its *member*, which nobody here reads; None when it is no such answer."""
    try:
        answer = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return len(msgspec.json.decode(answer.get(member, b""), type=list[msgspec.Raw]))
    except UNREADABLE:
        return None


def _inputs(value: Any) -> tuple[list[str], int | None]:
    """The texts of ``input``, or the number of tokens it came as: a text, texts, tokens or lists of tokens."""
    inputs = [value] if isinstance(value, str) else value
    if not isinstance(inputs, list) or (not 1 <= len(inputs) <= MAX_INPUTS and not _is_tokens(inputs)):
        raise BadRequestError(f"input is required: 1 to {MAX_INPUTS} texts", param="input")
    if all(isinstance(text, str) and text for text in inputs):
        return inputs, None
    lists = [inputs] if _is_tokens(inputs) else inputs
    size = sum(len(tokens) if _is_tokens(tokens) else MAX_INPUT_TOKENS + 1 for tokens in lists)
    if size > MAX_INPUT_TOKENS:
        raise BadRequestError(
            f"input must be a text, texts, tokens or lists of tokens, none of them empty, with at most "
            f"{MAX_INPUT_TOKENS} tokens in all",
            param="input",
        )
    return [], size


def _is_tokens(value: Any) -> bool:
    # bool is an int in Python, not in JSON.
    return isinstance(value, list) and bool(value) and all(type(token) is int and token >= 0 for token in value)


def _one_of(fields: dict[str, Any], name: str, known: tuple[str, ...]) -> None:
    if fields.get(name) not in (None, *known):
        raise BadRequestError(f"{name} must be {' or '.join(known)}, or null", param=name)


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
