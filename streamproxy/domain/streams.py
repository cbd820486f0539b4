"""What a stream was, once it has ended: its reason, its usage, its row in the ledger.

The values are Structs and no dataclasses: every request makes several, one of many fields, and msgspec makes them in C.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class EndReason(StrEnum):
    """Why a stream ended. Every stream ends with exactly one of these."""

    FINISH = "finish"
    CANCELLED = "cancelled"
    CLIENT_GONE = "client_gone"
    UPSTREAM_ERROR = "upstream_error"
    BUDGET = "budget"
    FILTERED = "filtered"
    WORKER_LOST = "worker_lost"


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one stream. *estimated* is true where the upstream did not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class RunningStream(msgspec.Struct, frozen=True):
    """A stream that has not ended. *began* is in epoch seconds."""

    stream_id: str
    request_id: str
    user_id: str
    user_name: str
    model: str
    endpoint: str
    began: float


class UsageRecord(msgspec.Struct, frozen=True):
    """One row of the ledger: a stream as it ended. Times are epoch seconds or milliseconds as named.

    *cost_nano_usd* is what it cost by the price table of its time, in nano-USD; *images* counts the pictures.
    """

    stream_id: str
    request_id: str
    user_id: str
    session_id: str | None
    endpoint: str
    model: str
    upstream: str
    key_last4: str
    created: float
    ttft_ms: int | None
    duration_ms: int
    chunks: int
    attempts: int
    usage: Usage
    end_reason: EndReason
    error_code: str | None = None
    key_id: str = ""
    cost_nano_usd: int = 0
    images: int = 0


class Timing(msgspec.Struct, frozen=True):
    """What only the metrics want to know of a stream, in seconds; None where there was no such part.

    *before_call*: from the request to the first call of an upstream. *settling*: from its end until everything
    but the ledger was settled.
    """

    streamed: bool = False
    before_call: float | None = None
    settling: float | None = None


class HistoryMessage(msgspec.Struct, frozen=True):
    """One message as it was said, before any truncation. *message* is the chat message as JSON text.

    *complete* is false for an answer that was cut.
    """

    user_id: str
    session_id: str | None
    stream_id: str
    position: int
    role: str
    message: str
    created: float
    complete: bool = True
