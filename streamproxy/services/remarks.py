"""What a user said and was answered, and how much of it today, as the callers of the simple chat read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from streamproxy.domain.limits import day_bounds
from streamproxy.domain.ports import Ledger
from streamproxy.domain.streams import HistoryMessage


@dataclass(frozen=True, slots=True)
class Remark:
    """One message of a conversation. *speaker* is ``user`` or ``ai``, *time* epoch seconds."""

    speaker: str
    text: str
    time: float


class Remarks:
    """Reads the history of one user at a time. *zone* is where a calendar day begins, *clock* gives epoch seconds."""

    def __init__(self, ledger: Ledger, *, zone: ZoneInfo, clock: Callable[[], float]) -> None:
        self.zone = zone
        self._ledger = ledger
        self._clock = clock

    async def newest(self, user_id: str, count: int) -> list[Remark]:
        """The newest *count* questions and answers, oldest first, as said: before anything was cut to a window."""
        if count == 0:
            return []
        return [_remark(row) for row in await self._ledger.remarks(user_id, limit=count)]

    async def accepted_today(self, user_id: str, endpoints: Sequence[str]) -> int:
        """How many requests to *endpoints* counted since the day began."""
        since, until = day_bounds(self._clock(), self.zone)
        return await self._ledger.accepted(user_id, endpoints, since=since, until=until)


def _remark(row: HistoryMessage) -> Remark:
    return Remark("ai" if row.role == "assistant" else "user", _text(msgspec.json.decode(row.message)), row.created)


def _text(message: Mapping[str, Any]) -> str:
    """The words of a message: its content, or its text parts, or why it was refused."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    said = "\n".join(text for text in texts if isinstance(text, str))
    refusal = message.get("refusal")
    return said or (refusal if isinstance(refusal, str) else "")
