"""A question of an older system as the chat request it means."""

from __future__ import annotations

from msgspec.structs import replace

from streamproxy.wire.chat import ChatRequest, new_request


def question(text: str, *, model: str, reply_tokens: int | None = None, **fields: object) -> ChatRequest:
    """One user message, the answer whole. *fields* go upstream as they are, *reply_tokens* as ``max_tokens``."""
    request = new_request(model, [{"role": "user", "content": text}])
    bound = {} if reply_tokens is None else {"max_tokens": reply_tokens}
    return replace(request, reply_tokens=reply_tokens, fields={**request.fields, **bound, **fields})
