"""How one kind of upstream spells requests, events and errors: pure functions on values.

A new dialect is one file that fills ``Dialect`` and one entry in ``dialects.DIALECTS``. One whose events are
no chat.completion.chunks (Anthropic's Messages, say) translates them one by one with a ``Translator``;
where there is none, the upstream's bytes are the client's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from streamproxy.domain.keypool import Verdict
from streamproxy.errors import StreamProxyError
from streamproxy.wire.chat import ChatRequest, Message
from streamproxy.wire.plain import PlainRequest
from streamproxy.wire.sse import Event


class Call(msgspec.Struct, frozen=True):
    """One HTTP call to an upstream. *path* is relative to the base URL; a GET when *body* is None.

    *body* is in pieces: a long conversation is not copied to be put together, but only as it is sent.
    """

    path: str
    headers: Mapping[str, str]
    body: Sequence[bytes] | None


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed call means: for the client, for the key, and whether another key may be tried."""

    error: StreamProxyError
    verdict: Verdict | None = None
    another_key: bool = False


class Translator(Protocol):
    """Reads the events of one foreign stream, and may remember what it has read."""

    def payloads(self, event: Event) -> Sequence[bytes]:
        """What *event* is in OpenAI's spelling: the JSON of chunks, ``[DONE]`` for the end, nothing for no matter.

        An error is passed on as the object it came in, under the key ``error``: ``Dialect.failure`` gets to read it.
        """


class Dialect(Protocol):
    """The spelling of one upstream; made with the upstream's quirks."""

    def chat(self, request: ChatRequest, *, model: str, messages: Sequence[Message], secret: str) -> Call:
        """The call that asks for this completion, streamed or not as *request* says."""

    def plain(self, request: PlainRequest, *, model: str, secret: str) -> Call:
        """The call for what one JSON object answers."""

    def models(self, *, secret: str) -> Call:
        """The call that lists the models."""

    def translator(self) -> Translator | None:
        """A new one for each stream; None where events are chat.completion.chunks already."""

    def completion(self, body: bytes) -> bytes:
        """A whole answer as the JSON of a chat.completion; *body* itself when it is none (``failure`` reads it)."""

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """Classify an answer that is no success: an HTTP status, or an error body inside a 200."""
