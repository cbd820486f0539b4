"""How a chunk of a streamed answer is read: as far as somebody here wants to know, and as a struct.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from streamproxy.wire.body import UNREADABLE


class Envelope(msgspec.Struct, gc=False):
    """A chunk as far as it matters on its way to the client. A missing member is as good as null."""

    id: Any = None
    object: Any = None
    choices: Any = None
    error: Any = None
    usage: Any = None


class Spoken(msgspec.Struct, gc=False):
    """A ``delta`` or a ``message``. Leaves are Any: a wrong type must not cost the rest of the chunk."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None


class Choice(msgspec.Struct, gc=False):
    index: Any = 0
    delta: Spoken | None = None
    message: Spoken | None = None
    finish_reason: Any = None


class Chunk(msgspec.Struct, gc=False):
    choices: list[Choice] | None = None
    usage: Any = None


class _PlainDelta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A delta that says text and nothing else."""

    content: str | None = None
    role: str | None = None
    refusal: None = None
    reasoning_content: None = None
    reasoning: None = None
    tool_calls: None = None
    function_call: None = None


class _PlainChoice(msgspec.Struct, gc=False):
    delta: _PlainDelta
    index: Literal[0]
    finish_reason: None = None


class _PlainChunk(msgspec.Struct, gc=False):
    """What nearly all of a long answer consists of, so strict that whatever is more is none."""

    choices: tuple[_PlainChoice]
    usage: None = None
    error: None = None


envelope_decoder = msgspec.json.Decoder(Envelope)
chunk_decoder = msgspec.json.Decoder(Chunk)
plain_decoder = msgspec.json.Decoder(_PlainChunk)
text_decoder = msgspec.json.Decoder(str)


def plain_text(event: bytes) -> str | None:
    """The content of an *event* of one ``data:`` line that says text and nothing else; None for any other."""
    try:
        return plain_decoder.decode(event.removeprefix(b"data: ")).choices[0].delta.content
    except UNREADABLE:
        return None
