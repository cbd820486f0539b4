"""What every exchange of one worker is made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from streamproxy.domain.money import PriceTable
from streamproxy.domain.ports import Ledger, SessionStore, Turnstile
from streamproxy.domain.streams import Timing, UsageRecord
from streamproxy.services.admission import Admission
from streamproxy.services.calls import Calls
from streamproxy.services.contextsizes import ContextSizes
from streamproxy.services.leases import LeaseKeeper
from streamproxy.services.moderation import Moderation
from streamproxy.services.order import Running
from streamproxy.services.prompt import Prompts


class Watch(Protocol):
    """Whoever counts what exchanges do. Called on the way of every request: it must only add up."""

    def decided(self, decision: str) -> None:
        """The limits have decided: one of ``services.admission``'s words, or ``store_away`` for their silence."""

    def ended(self, record: UsageRecord, timing: Timing) -> None:
        """A stream ended."""


@dataclass(frozen=True, slots=True)
class Parts:
    """*reply_reserve* is in tokens; *clock* gives epoch seconds."""

    admission: Admission
    leases: LeaseKeeper
    prompts: Prompts
    calls: Calls
    sessions: SessionStore
    turnstile: Turnstile
    ledger: Ledger
    reply_reserve: int
    clock: Callable[[], float]
    watch: Watch
    prices: PriceTable
    moderation: Moderation | None = None
    running: Running = field(default_factory=Running)
    contexts: ContextSizes = field(default_factory=ContextSizes)
