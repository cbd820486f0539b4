"""Limits: what a principal may use, as values and pure rules. The stores count.

Grammar of a limits setting: ``N/W`` comma-separated; W is ``30s``, ``min``, ``5min``, ``h``,
``24h`` (exact sliding windows) or ``calendar-day`` (resets at midnight of the configured zone).

The values are Structs and no dataclasses: every request makes several, and msgspec makes and hashes them in C.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from streamproxy.errors import ConfigurationError

_LIMIT = re.compile(r"(?P<count>\d{1,12})\s*/\s*(?:(?P<day>calendar-day)|(?P<n>\d{0,6})(?P<unit>s|min|h|d))")
_UNIT_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
LONGEST_WINDOW = 31 * 86400


class Window(msgspec.Struct, frozen=True):
    """At most *count* in any *seconds* long window."""

    count: int
    seconds: int


class DayQuota(msgspec.Struct, frozen=True):
    """At most *count* in one calendar day."""

    count: int


Limit: TypeAlias = Window | DayQuota


class LimitPolicy(msgspec.Struct, frozen=True, cache_hash=True):
    """All limits of one scope. *streams* bounds the running streams, 0 means unbounded."""

    requests: tuple[Limit, ...] = ()
    tokens: tuple[Limit, ...] = ()
    streams: int = 0


NO_LIMITS = LimitPolicy()


class Ask(msgspec.Struct, frozen=True):
    """One request before the limits. *scope* is a principal id; *request_id* makes it idempotent.

    *spare* tokens more are taken where half of every token window stays free with them: nobody is refused for want of
    these. Until the settlement they count as used, as all that was taken does.
    """

    scope: str
    request_id: str
    policy: LimitPolicy
    tokens: int = 0
    spare: int = 0

    def of(self, tokens: int) -> Ask:
        """The same ask, of so many tokens and none to spare."""
        return Ask(self.scope, self.request_id, self.policy, tokens)


class Standing(msgspec.Struct, frozen=True):
    """Where one limit stands after an ask: for RateLimit fields and x-ratelimit-* headers.

    *unit* is ``requests`` or ``tokens``; *window_seconds* the length it is counted over;
    *reset_seconds* says when *remaining* will have grown back to the full limit.
    """

    unit: str
    limit: int
    remaining: int
    window_seconds: int
    reset_seconds: float


class Reservation(msgspec.Struct, frozen=True):
    """What an admitted ask holds until it is settled or refunded.

    *stamps* are the store's marks (one a limit, in policy order, requests before tokens), opaque to
    everybody else. *local* is true for one that was made while Redis was away.
    """

    ask: Ask
    stamps: tuple[str, ...] = ()
    local: bool = False


class Decision(msgspec.Struct, frozen=True):
    """The answer to an ask. When refused, *refused_by* names the limit and nothing was counted.

    *refused_by* is ``requests``, ``tokens``, ``streams`` or ``calendar-day``; *retry_after* is in
    seconds: whoever asks again after it, and finds nobody else took the place, is admitted.
    """

    reservation: Reservation | None
    standings: tuple[Standing, ...] = ()
    refused_by: str | None = None
    retry_after: float = 0.0


def parse_limits(text: str) -> tuple[Limit, ...]:
    """Read a limits setting; empty text means no limit. ConfigurationError on anything else."""
    return tuple(_parse_limit(part.strip()) for part in text.split(",") if part.strip())


def spell_limits(limits: Sequence[Limit]) -> str:
    """The setting that ``parse_limits`` reads as *limits*."""
    return ",".join(f"{x.count}/calendar-day" if isinstance(x, DayQuota) else f"{x.count}/{x.seconds}s" for x in limits)


def _parse_limit(part: str) -> Limit:
    match = _LIMIT.fullmatch(part)
    if match is None:
        raise ConfigurationError(f"{part!r} is not a limit: write N/W, for example 60/min, 3/30s or 20/calendar-day")
    count = int(match["count"])
    if count < 1:
        raise ConfigurationError(f"{part!r}: the count must be at least 1")
    if match["day"]:
        return DayQuota(count)
    seconds = int(match["n"] or 1) * _UNIT_SECONDS[match["unit"]]
    if not 1 <= seconds <= LONGEST_WINDOW:
        raise ConfigurationError(f"{part!r}: the window must be 1 s to 31 d long")
    return Window(count, seconds)


def halved(limit: Limit) -> Limit:
    """Half of it, counted over the same time."""
    return replace(limit, count=limit.count // 2)


def day_bounds(now: float, zone: ZoneInfo) -> tuple[float, float]:
    """First and last-exclusive epoch second of the calendar day that *now* falls into, in *zone*."""
    today = datetime.fromtimestamp(now, zone).date()
    start = datetime.combine(today, time.min, zone)
    end = datetime.combine(today + timedelta(days=1), time.min, zone)
    return start.timestamp(), end.timestamp()
