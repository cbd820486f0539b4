"""The one completion that all chunks of a stream belong to: its id, and what we say ourselves in its name."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from streamproxy.wire import sse
from streamproxy.wire.chat import Envelope, completed_chunk, finish_chunk, usage_chunk

# Azure sends one chunk before the completion has an id; a stream of nothing else must not fill the memory.
LONGEST_PRELUDE = 8
# A number, as ``wire.sse`` has them and for its reason.
_LF = ord("\n")
_ID = re.compile(rb'"id" ?: ?"((?:[^"\\]|\\.)*)"')


class Identity(msgspec.Struct, frozen=True, gc=False):
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


class Completion(msgspec.Struct, eq=False, gc=False):
    """*spelled* is the bytes by which its chunks are known, None before the first of them."""

    _identity: Identity
    _taken_ids: TakenIds
    spelled: bytes | None = None
    _id: str = ""
    # The payloads that wait for its id.
    _prelude: list[bytes] = []

    def frames_of(self, data: bytes, chunk: Envelope) -> tuple[bytes, bytes]:
        """The frames of what had to wait for the completion's id, and the payload of *chunk*, which *data* spells.

        The payload is empty for a chunk that has to wait itself. DecodeError when *data* has to be spelled anew and
        has a value in it that nobody can.
        """
        if chunk.id != self._id or not self._id:
            if self.spelled is None and not chunk.id and self._waits(chunk):
                self._prelude.append(data)
                return b"", b""
            if self.spelled is not None or not self._takes_name(data, chunk.id):
                data = self._completed(data)
        if _LF in data:
            data = msgspec.json.encode(msgspec.json.decode(data))
        if not self._prelude:
            return b"", data
        prelude = b"".join([sse.frame(self._completed(held)) for held in self._prelude])
        self._prelude.clear()
        return prelude, data

    def _waits(self, chunk: Envelope) -> bool:
        """Whether *chunk*, without an id before the completion has one, says so little that it can."""
        return not chunk.choices and chunk.usage is None and len(self._prelude) < LONGEST_PRELUDE

    def _takes_name(self, data: bytes, own: Any) -> bool:
        """Whether the completion takes *own*, the first chunk's id, for its name: not if another one had it already."""
        spelled = _spelled_id(data, own)
        if spelled is not None and self._taken_ids.take(own):
            self.spelled, self._id = spelled, own
            return True
        # No bytes to look for: from here on every chunk is encoded anew, with our id.
        self._id = self._identity.fallback_id
        self.spelled = f'"id":"{self._id}"'.encode()
        return False

    def _completed(self, data: bytes) -> bytes:
        identity = self._identity
        return completed_chunk(msgspec.json.decode(data), id=self._id, model=identity.model, created=identity.created)

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
    if type(own) is not str or not own:
        return None
    # Nearly always it comes first. A regular expression costs ten times that.
    spelled = b'"id":"%b"' % own.encode()
    if data.startswith(spelled, 1) and "\\" not in own:
        return spelled
    for found in _ID.finditer(data):
        if msgspec.json.decode(b'"' + found[1] + b'"') == own:
            return found[0]
    return None
