"""What is shown of conversations and of who asks, as structs: the handlers and the OpenAPI document read them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct


class ConversationView(Struct, kw_only=True, tag_field="object", tag="session.summary"):
    """A session in the history. *title* is how it began; times are epoch seconds."""

    id: str
    title: str
    created: float
    updated: float
    messages: int


class AnswerView(Struct, kw_only=True):
    """What the stream of an answer was. *estimated*: the provider did not count the tokens."""

    model: str
    ttft_ms: int | None
    duration_ms: int
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    cost_usd: str
    end_reason: str


class MessageView(Struct, kw_only=True, tag_field="object", tag="session.message"):
    """A message as it was said. *complete* is false for an answer that was cut; *answer* is null for others."""

    id: str
    stream_id: str
    created: float
    complete: bool
    message: msgspec.Raw
    answer: AnswerView | None


class PrincipalView(Struct, kw_only=True, tag_field="object", tag="principal"):
    """Who asks. *session_seconds* is how long the model remembers a session in which nobody speaks."""

    id: str
    name: str
    role: Annotated[str, Meta(pattern="^(guest|user|admin)$")]
    credential: Annotated[str, Meta(pattern="^(bearer|api_token|cookie)$")]
    session_seconds: int


class SignIn(Struct, kw_only=True, forbid_unknown_fields=True):
    """Name and password of an account."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    password: Annotated[str, Meta(min_length=1, max_length=1024)]
