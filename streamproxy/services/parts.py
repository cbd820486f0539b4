"""What every exchange of one worker is made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from streamproxy.domain.money import PriceTable
from streamproxy.domain.ports import Ledger, SessionStore
from streamproxy.domain.streams import UsageRecord
from streamproxy.services.admission import Admission
from streamproxy.services.calls import Calls
from streamproxy.services.leases import LeaseKeeper
from streamproxy.services.moderation import Moderation
from streamproxy.services.order import Running
from streamproxy.services.prompt import Prompts


@dataclass(frozen=True, slots=True)
class Parts:
    """*reply_reserve* is in tokens; *clock* gives epoch seconds; *observe* is told of every stream that ended."""

    admission: Admission
    leases: LeaseKeeper
    prompts: Prompts
    calls: Calls
    sessions: SessionStore
    ledger: Ledger
    reply_reserve: int
    clock: Callable[[], float]
    observe: Callable[[UsageRecord], None]
    prices: PriceTable
    moderation: Moderation | None = None
    running: Running = field(default_factory=Running)
