"""A question of an older system as the chat request it means."""

from __future__ import annotations

from streamproxy.wire.chat import ChatRequest


def question(text: str, *, model: str, reply_tokens: int | None = None, **fields: object) -> ChatRequest:
    """One user message, the answer whole. *fields* go upstream as they are, *reply_tokens* as ``max_tokens``."""
    bound = {} if reply_tokens is None else {"max_tokens": reply_tokens}
    messages = ({"role": "user", "content": text},)
    return ChatRequest(
        model=model,
        messages=messages,
        stream=False,
        include_usage=False,
        reply_tokens=reply_tokens,
        fields={"model": model, "messages": list(messages), **bound, **fields},
    )
