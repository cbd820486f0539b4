"""Counting tokens, as a Protocol: who needs a count need not know tiktoken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from streamproxy.domain.sessions import Message


class TokenCounter(Protocol):
    """Counts the tokens of one model's encoding.

    Pure CPU work: a long text belongs off the loop (see ``TokenCounters.in_thread``).
    """

    def count(self, text: str) -> int:
        """Tokens of *text*; special-token spellings in it are counted as ordinary text."""

    def cut_middle(self, text: str, budget: int) -> str:
        """Head ⌈budget/2⌉ and tail ⌊budget/2⌋ tokens of *text*, at UTF-8 boundaries, never over *budget*."""


class TokenCounters(Protocol):
    """Finds the counter of a model."""

    async def counter(self, model: str) -> TokenCounter:
        """The counter for *model*; loads its encoding off the loop the first time. Never raises."""


# OpenAI's own arithmetic for chat prompts: every message is wrapped in 3 tokens and the reply is primed with 3.
# https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken
TOKENS_PER_MESSAGE = 3
TOKENS_FOR_REPLY = 3
# A picture part without known size: 765 is what OpenAI bills for a 1024 x 1024 picture in high detail.
TOKENS_PER_PICTURE = 765


def message_text(message: Message) -> str:
    """All text of a message that a model reads: content, text parts, tool calls, refusal."""
    return "\n".join(_texts(message))


def _texts(message: Message) -> Iterable[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield f"{function.get('name', '')}{function.get('arguments', '')}"
    for field in ("refusal", "name"):
        if isinstance(message.get(field), str):
            yield message[field]


def count_message(message: Message, counter: TokenCounter) -> int:
    """Tokens that *message* costs inside a prompt."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    pictures = sum(1 for part in parts if isinstance(part, dict) and "text" not in part)
    return TOKENS_PER_MESSAGE + counter.count(message_text(message)) + 1 + pictures * TOKENS_PER_PICTURE


def count_messages(messages: Iterable[Message], counter: TokenCounter) -> int:
    """Tokens of a whole prompt, the priming of the reply included."""
    return TOKENS_FOR_REPLY + sum(count_message(m, counter) for m in messages)
