"""The receipt of a stream: what it was, why it ended, what it used. The same values as its row in the ledger."""

from __future__ import annotations

import msgspec

from streamproxy.domain.money import usd
from streamproxy.domain.streamlog import StreamHead
from streamproxy.domain.streams import UsageRecord


def finished_receipt(record: UsageRecord) -> bytes:
    """JSON of a stream that ended. Times are epoch seconds or milliseconds as named."""
    usage = record.usage
    return msgspec.json.encode(
        {
            "id": record.stream_id,
            "object": "stream",
            "state": "ended",
            "created": int(record.created),
            "model": record.model,
            "session_id": record.session_id,
            "ttft_ms": record.ttft_ms,
            "duration_ms": record.duration_ms,
            "chunks": record.chunks,
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.total_tokens,
                "estimated": usage.estimated,
            },
            "cost_usd": f"{usd(record.cost_nano_usd):f}",
            "attempts": record.attempts,
            "end_reason": record.end_reason,
            "error_code": record.error_code,
        }
    )


def running_receipt(head: StreamHead, *, state: str) -> bytes:
    """JSON of a stream that is ``running``, or ``ending``: over and not settled yet. What is not known is null."""
    unknown = dict.fromkeys(
        ("ttft_ms", "duration_ms", "chunks", "usage", "cost_usd", "attempts", "end_reason", "error_code")
    )
    known = {
        "id": head.stream_id,
        "object": "stream",
        "state": state,
        "created": int(head.created),
        "model": head.model,
        "session_id": head.session_id,
    }
    return msgspec.json.encode({**known, **unknown})
