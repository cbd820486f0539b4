"""The ``chat.completion.chunk`` payloads that we make, or take apart because of their usage.

A usage that no upstream can mean (negative, beyond 10**9, not a number) counts as not reported.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

# Far above any window, far below where sums over a month leave 64 bits.
MAX_REPORTED_TOKENS: Final = 10**9
# What a usage chunk split from another one says again; everything else stays where it was.
_SHARED_FIELDS = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
_NO_CHOICES = msgspec.Raw(b"[]")
_CHUNK = "chat.completion.chunk"
_object_of_raw = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ReportedUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens as an upstream reported them.

    *cached_tokens* are part of *prompt_tokens*, *reasoning_tokens* of *completion_tokens*.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int = 0

    @classmethod
    def read(cls, usage: object) -> ReportedUsage | None:
        """The ``usage`` member of an answer; None when it does not say what the call cost.

        Pictures have ``input_tokens`` and ``output_tokens``; embeddings have a total, and no completion.
        """
        if type(usage) is not dict:
            return None
        prompt = usage["prompt_tokens"] if "prompt_tokens" in usage else usage.get("input_tokens")
        # As ``_count`` has it, here and below, which are in the way of every answer.
        if type(prompt) is not int or not 0 <= prompt <= MAX_REPORTED_TOKENS:
            return None
        if "completion_tokens" in usage:
            completion = usage["completion_tokens"]
        elif "output_tokens" in usage:
            completion = usage["output_tokens"]
        else:
            total = _count(usage.get("total_tokens"))
            completion = None if total is None else max(total - prompt, 0)
        if type(completion) is not int or not 0 <= completion <= MAX_REPORTED_TOKENS:
            return None
        cached = reasoning = None
        if "prompt_tokens_details" in usage:
            cached = _detail(usage["prompt_tokens_details"], "cached_tokens")
        if cached is None and "prompt_cache_hit_tokens" in usage:  # DeepSeek's own name for it
            cached = _count(usage["prompt_cache_hit_tokens"])
        if "completion_tokens_details" in usage:
            reasoning = _detail(usage["completion_tokens_details"], "reasoning_tokens")
        # A part that is more than the whole is all of it.
        return cls(
            prompt,
            completion,
            min(cached, prompt) if cached else 0,
            min(reasoning, completion) if reasoning else 0,
        )


def _detail(details: object, name: str) -> int | None:
    return _count(details.get(name)) if isinstance(details, dict) else None


def _count(value: object) -> int | None:
    # Not a bool, which is an int too.
    return value if type(value) is int and 0 <= value <= MAX_REPORTED_TOKENS else None


def finish_chunk(
    *,
    id: str,  # noqa: A002 - the field's name
    model: str,
    created: int,
    finish_reason: str,
    choice: int = 0,
) -> bytes:
    """The chunk that ends the choice of this index. *created* is in epoch seconds."""
    end = {"index": choice, "delta": {}, "logprobs": None, "finish_reason": finish_reason}
    return _encoded_chunk(id, model, created, choices=[end])


def usage_chunk(
    *,
    id: str,  # noqa: A002 - the field's name
    model: str,
    created: int,
    prompt_tokens: int,
    completion_tokens: int,
) -> bytes:
    """The chunk without choices that ends a stream whose client asked for ``include_usage``."""
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return _encoded_chunk(id, model, created, choices=[], usage=usage)


def _encoded_chunk(completion_id: str, model: str, created: int, **fields: Any) -> bytes:
    return msgspec.json.encode({"id": completion_id, "object": _CHUNK, "created": created, "model": model, **fields})


def completed_chunk(chunk: dict[str, Any], *, id: str, model: str, created: int) -> bytes:  # noqa: A002
    """*chunk* with *id*, and with what a provider's annotation leaves out or empty, so that every client can read it.

    Azure's content filter sends such chunks: ``"id":"","object":"","created":0,"model":""``, choices without ``delta``.
    """
    given = {"object": chunk.get("object") or _CHUNK, "created": chunk.get("created") or created}
    choices = [
        {**choice, "delta": {}} if isinstance(choice, dict) and not choice.keys() & {"delta", "message"} else choice
        for choice in chunk["choices"]
    ]
    return msgspec.json.encode({**chunk, "id": id, **given, "model": chunk.get("model") or model, "choices": choices})


def split_usage(data: bytes) -> tuple[bytes | None, bytes | None]:
    """Part a chunk payload, a JSON object, from its usage: (the rest, the chunk with nothing but usage).

    The rest is None when there were no choices, the usage None when it was null or absent. Values stay
    byte for byte what they were.
    """
    fields = _object_of_raw.decode(data)
    if "usage" not in fields or bytes(fields["usage"]) == b"null":
        return data, None
    choices = bytes(fields["choices"]) if "choices" in fields else b"null"
    if choices == b"[]":
        return None, data
    if choices == b"null" or choices.translate(None, b" \t\r\n") == b"[]":
        return None, msgspec.json.encode({**fields, "choices": _NO_CHOICES})
    usage = fields["usage"]
    shared = {name: fields[name] for name in _SHARED_FIELDS if name in fields}
    del fields["usage"]
    return msgspec.json.encode(fields), msgspec.json.encode({**shared, "choices": _NO_CHOICES, "usage": usage})
