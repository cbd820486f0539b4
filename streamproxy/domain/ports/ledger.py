"""The lasting record: usage, history and money."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamproxy.domain.conversations import Conversation, Remembered
from streamproxy.domain.streams import HistoryMessage, UsageRecord


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """What a user consumed of one model in one UTC day (``day`` is ``YYYY-MM-DD``)."""

    day: str
    model: str
    streams: int
    prompt_tokens: int
    completion_tokens: int
    estimated_streams: int
    cost_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class UserUsage:
    """A UsageSummary and whose it is; *user_name* is None for a guest."""

    user_id: str
    user_name: str | None
    summary: UsageSummary


@dataclass(frozen=True, slots=True)
class Failure:
    """The row of a stream that ended with an error, and whose it was; *user_name* is None for a guest."""

    record: UsageRecord
    user_name: str | None


class UsageReport(Protocol):
    """Everybody's usage."""

    async def page(
        self, *, first_day: int, last_day: int, user_id: str | None, after: tuple[int, str, str] | None, limit: int
    ) -> Sequence[UserUsage]:
        """By day, user and model, both days included (UTC days since 1970), those after that day, user and model."""

    async def failures(self, *, first_day: int, after: str, limit: int) -> Sequence[Failure] | None:
        """Streams that ended with an error since that day, the newest first, those after *after*; None if unknown."""


class Ledger(Protocol):
    """The lasting record: usage and history."""

    def enter(
        self, record: UsageRecord, history: Sequence[HistoryMessage], tell: Callable[[Exception | None], None]
    ) -> None:
        """Both are to be written in one transaction, once per ``stream_id``. StoreUnavailableError when too much waits.

        *tell* is called once, later: with None when they are committed, else with what refused them.
        """

    async def write(self, record: UsageRecord, history: Sequence[HistoryMessage]) -> None:
        """``enter``, and wait until it is done."""

    async def history(
        self, user_id: str, *, session_id: str | None = None, limit: int = 200
    ) -> Sequence[HistoryMessage]:
        """The newest *limit* messages of the user (of one session when given), oldest first."""

    async def usage_by_day(
        self, user_id: str, *, since: float, until: float = float("inf")
    ) -> Sequence[UsageSummary]: ...

    async def usage_of(self, stream_id: str) -> UsageRecord | None:
        """The row of one stream, None while there is none."""

    async def detach(self, user_id: str, session_id: str) -> int:
        """Take the user's messages out of this session: they stay in the history. Returns how many."""

    async def remarks(self, user_id: str, *, limit: int) -> Sequence[HistoryMessage]:
        """The newest *limit* questions and answers of the user, oldest first: no system or tool messages."""

    async def accepted(self, user_id: str, endpoints: Sequence[str], *, since: float, until: float) -> int:
        """The user's requests at *endpoints* that counted: an answer began, or the client left before it."""


class Conversations(Protocol):
    """The history by session, for those who look at it again."""

    async def page(self, user_id: str, *, after: str = "", limit: int) -> Sequence[Conversation] | None:
        """The user's sessions, the one spoken in last first, those after *after*; None if that is unknown."""

    async def messages(
        self, user_id: str, session_id: str, *, before: tuple[str, int] | None = None, limit: int
    ) -> Sequence[Remembered] | None:
        """The newest *limit*, newest first, of those before (stream id, position); None if that is unknown."""

    async def rewind(self, user_id: str, session_id: str, stream_id: str) -> int:
        """Take the messages of this stream and of all after it out of the session. Returns how many."""


class GrantStore(Protocol):
    """Money granted to accounts, in nano-USD."""

    async def add(self, grant_id: str, user_id: str, nano_usd: int, created: float) -> None: ...

    async def total(self, user_id: str) -> int:
        """All that was granted, 0 for somebody unknown."""
