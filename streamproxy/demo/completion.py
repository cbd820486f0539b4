"""One completion of the demo model in OpenAI's shapes, whole and in chunks.

https://platform.openai.com/docs/api-reference/chat/streaming
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streamproxy.domain.tokens import TokenCounter

# Where answers come from stands in a field made for it, in every chunk.
FINGERPRINT = "demo-no-language-model"
# A word with the space before it, or two Chinese characters: what a model's token looks like on a page.
_HAN = "\u3000-\u303f\u3400-\u9fff\uff00-\uffef"
_PIECE = re.compile(rf"\s*(?:[{_HAN}]{{1,2}}|[^\s{_HAN}]+)|\s+")


@dataclass(frozen=True, slots=True)
class Reply:
    """What is said, in pieces. *completion_tokens* are those of all pieces."""

    pieces: tuple[str, ...]
    completion_tokens: int
    finish_reason: str


def reply(text: str, *, at_most: int | None, counter: TokenCounter) -> Reply:
    """*text* in pieces, as many as *at_most* tokens allow."""
    kept: list[str] = []
    tokens = 0
    for piece in _PIECE.findall(text):
        size = counter.count(piece)
        if at_most is not None and tokens + size > at_most:
            return Reply(tuple(kept), tokens, "length")
        kept.append(piece)
        tokens += size
    return Reply(tuple(kept), tokens, "stop")


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer to one request. *created* is in epoch seconds."""

    id: str
    created: int
    model: str
    prompt_tokens: int
    reply: Reply

    def whole(self) -> dict[str, Any]:
        """The ``chat.completion`` object."""
        message = {"role": "assistant", "content": "".join(self.reply.pieces), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.reply.finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage()}

    def opening(self, *, include_usage: bool) -> dict[str, Any]:
        """The first chunk, which says only whose message it is."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None}, include_usage=include_usage)

    def contents(self, *, include_usage: bool) -> Iterator[dict[str, Any]]:
        """A chunk a piece."""
        return (self._chunk({"content": piece}, include_usage=include_usage) for piece in self.reply.pieces)

    def ending(self, *, include_usage: bool) -> Iterator[dict[str, Any]]:
        """The chunk that finishes the choice and, when asked for, the one with the usage."""
        yield self._chunk({}, finish_reason=self.reply.finish_reason, include_usage=include_usage)
        if include_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": self._usage()}

    def _chunk(self, delta: dict[str, Any], *, include_usage: bool, finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        # With include_usage OpenAI's other chunks carry the field too, as null.
        usage = {"usage": None} if include_usage else {}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
        }

    def _usage(self) -> dict[str, int]:
        completion_tokens = self.reply.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
        }
