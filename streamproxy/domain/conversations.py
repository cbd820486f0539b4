"""Conversations as people look at them again: the lasting history, by session."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from streamproxy.domain.streams import HistoryMessage, UsageRecord
from streamproxy.domain.tokens import message_text

LONGEST_TITLE = 80


@dataclass(frozen=True, slots=True)
class Conversation:
    """One session in the history. *opening* is its first question as JSON; times are epoch seconds."""

    session_id: str
    opening: str
    created: float
    updated: float
    messages: int

    @property
    def title(self) -> str:
        """The opening's first words, on one line."""
        text = " ".join(message_text(msgspec.json.decode(self.opening or "{}")).split())
        return text if len(text) <= LONGEST_TITLE else text[: LONGEST_TITLE - 1].rstrip() + "…"


@dataclass(frozen=True, slots=True)
class Remembered:
    """A message of a conversation, and what the stream that brought it was; None when the ledger has no row of it."""

    message: HistoryMessage
    stream: UsageRecord | None
