"""How one kind of upstream spells requests, events and errors: pure functions on values.

A new dialect is one file that fills ``Dialect`` and one entry in ``dialects.DIALECTS``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamproxy.domain.keypool import Verdict
from streamproxy.errors import StreamProxyError
from streamproxy.wire.chat import ChatRequest, Message


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call to an upstream. *path* is relative to the base URL; a GET when *body* is None."""

    path: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failed call means: for the client, for the key, and whether another key may be tried."""

    error: StreamProxyError
    verdict: Verdict | None = None
    another_key: bool = False


class Dialect(Protocol):
    """The spelling of one kind of upstream."""

    def chat(self, request: ChatRequest, *, model: str, messages: Sequence[Message], secret: str) -> Call:
        """The call that asks for this completion, streamed or not as *request* says."""

    def models(self, *, secret: str) -> Call:
        """The call that lists the models."""

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """Classify an answer that is no success: an HTTP status, or an error body inside a 200."""
