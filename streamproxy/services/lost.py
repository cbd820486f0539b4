"""What is put in order for a stream whose worker died: the answer so far, its usage, its session.

Limits and the place in the session were leases, and have freed themselves. Usage is estimated from what the log
holds: what the upstream sent after that is not known here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from streamproxy.domain.sessions import SYSTEM_ROLES, Message, SessionRef, Turn
from streamproxy.domain.streamlog import StreamHead
from streamproxy.domain.streams import EndReason, HistoryMessage, Timing, Usage, UsageRecord
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.parts import Parts
from streamproxy.wire.chat import Transcript
from streamproxy.wire.sse import frame

log = logging.getLogger(__name__)


async def settle_lost(parts: Parts, head: StreamHead, payloads: Sequence[bytes]) -> None:
    """Append what was said to its session, and write usage and history."""
    transcript = Transcript()
    for payload in payloads:
        transcript.add(frame(payload))
    reading = transcript.read()
    answer = reading.message()
    said = [m for m in head.said if m.get("role") not in SYSTEM_ROLES]
    rows = [*said, answer] if answer is not None else []
    if rows:
        await _append(parts, head, rows)
    usage = Usage(
        prompt_tokens=await parts.prompts.turn_tokens(head.model, said),
        completion_tokens=await parts.prompts.answer_tokens(head.model, reading.text),
        estimated=True,
    )
    ended = parts.clock()
    record = UsageRecord(
        stream_id=head.stream_id,
        request_id=head.request_id,
        user_id=head.user_id,
        session_id=head.session_id,
        endpoint=head.endpoint,
        model=head.model,
        upstream="",
        key_last4="",
        created=head.created,
        ttft_ms=None,
        duration_ms=int((ended - head.created) * 1000),
        chunks=reading.chunks,
        attempts=1,
        usage=usage,
        end_reason=EndReason.WORKER_LOST,
        error_code="owner_lost",
    )
    parts.watch.ended(record, Timing())
    await parts.ledger.write(record, [_row(head, i, message, ended) for i, message in enumerate(rows)])


async def _append(parts: Parts, head: StreamHead, messages: Sequence[Message]) -> None:
    if head.session_id is None:
        return
    systems = [m for m in head.said if m.get("role") in SYSTEM_ROLES]
    tokens = await parts.prompts.turn_tokens(head.model, messages)
    turn = Turn(head.stream_id, tuple(messages), tokens)
    try:
        session = SessionRef(head.user_id, head.session_id)
        await parts.sessions.append(session, turn, systems[0] if systems else None)
    except StoreUnavailableError:
        log.warning("a lost stream is not in its session: Redis is away; it is in the history")


def _row(head: StreamHead, position: int, message: Message, created: float) -> HistoryMessage:
    return HistoryMessage(
        user_id=head.user_id,
        session_id=head.session_id,
        stream_id=head.stream_id,
        position=position,
        role=str(message.get("role")),
        message=msgspec.json.encode(message).decode(),
        created=created,
        complete=message.get("role") != "assistant",
    )
