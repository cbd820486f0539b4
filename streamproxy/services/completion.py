"""The one completion that all chunks of a stream belong to: its id, and what we say ourselves in its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from streamproxy.wire import sse
from streamproxy.wire.chat import completed_chunk, finish_chunk, usage_chunk

# Azure sends one chunk before the completion has an id; a stream of nothing else must not fill the memory.
LONGEST_PRELUDE = 8
_ID = re.compile(rb'"id" ?: ?"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Identity:
    """What a chunk of ours says about itself. *fallback_id* is used when the upstream's id will not do."""

    fallback_id: str
    model: str
    created: int


class TakenIds:
    """The completion ids this worker saw last.

    chatgpt-web keys its memory by the id, and small servers (Ollama draws one of 999) give it twice.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._ids: dict[str, None] = {}

    def take(self, completion_id: str) -> bool:
        """Remember the id; False when it was taken already."""
        if completion_id in self._ids:
            return False
        self._ids[completion_id] = None
        if len(self._ids) > self._size:
            del self._ids[next(iter(self._ids))]
        return True


class Completion:
    """*spelled* is the bytes by which its chunks are known, None before the first of them."""

    def __init__(self, identity: Identity, taken_ids: TakenIds) -> None:
        self.spelled: bytes | None = None
        self._id = ""
        self._identity = identity
        self._taken_ids = taken_ids
        self._prelude: list[dict[str, Any]] = []

    def frames_of(self, data: bytes, chunk: dict[str, Any]) -> tuple[bytes, bytes]:
        """The frames of what had to wait for the completion's id, and the payload of *chunk*, which *data* spells.

        The payload is empty for a chunk that has to wait itself.
        """
        if chunk.get("id") == self._id and self._id:
            return b"", msgspec.json.encode(chunk) if b"\n" in data else data
        if self._is_prelude(chunk):
            self._prelude.append(chunk)
            return b"", b""
        data = self._with_our_id(data, chunk)
        prelude = b"".join(sse.frame(self._completed(held)) for held in self._prelude)
        self._prelude.clear()
        return prelude, data

    def _is_prelude(self, chunk: dict[str, Any]) -> bool:
        """A chunk without id, choices and usage before the completion has its id: it waits until it can have it."""
        nameless = self.spelled is None and not chunk.get("id") and not chunk["choices"]
        return nameless and chunk.get("usage") is None and len(self._prelude) < LONGEST_PRELUDE

    def _with_our_id(self, data: bytes, chunk: dict[str, Any]) -> bytes:
        """The first chunk's id names the completion, unless another completion had it already."""
        if self.spelled is None:
            own, spelled = chunk.get("id"), _spelled_id(data, chunk.get("id"))
            if isinstance(own, str) and spelled is not None and self._taken_ids.take(own):
                self.spelled, self._id = spelled, own
                return msgspec.json.encode(chunk) if b"\n" in data else data
            # No bytes to look for: from here on every chunk is encoded anew, with our id.
            self._id = self._identity.fallback_id
            self.spelled = f'"id":"{self._id}"'.encode()
        return self._completed(chunk)

    def _completed(self, chunk: dict[str, Any]) -> bytes:
        return completed_chunk(chunk, id=self._id, model=self._identity.model, created=self._identity.created)

    def finish(self, finish_reason: str, *, choice: int) -> bytes:
        """The frame that ends this choice."""
        identity = self._identity
        return sse.frame(
            finish_chunk(
                id=self._own_id,
                model=identity.model,
                created=identity.created,
                finish_reason=finish_reason,
                choice=choice,
            )
        )

    def usage(self, prompt_tokens: int, completion_tokens: int) -> bytes:
        """The frame that says what was used."""
        return sse.frame(
            usage_chunk(
                id=self._own_id,
                model=self._identity.model,
                created=self._identity.created,
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
            )
        )

    @property
    def _own_id(self) -> str:
        return self._id or self._identity.fallback_id


def _spelled_id(data: bytes, own: object) -> bytes | None:
    """How *data* spells its id *own*, None when that is none. Tool calls have ids too, and may come first."""
    if not isinstance(own, str) or not own:
        return None
    for found in _ID.finditer(data):
        if msgspec.json.decode(b'"' + found[1] + b'"') == own:
            return found[0]
    return None
