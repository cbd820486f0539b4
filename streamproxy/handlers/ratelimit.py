"""Where the limits stand, told in header fields.

``RateLimit`` and ``RateLimit-Policy`` as in draft-ietf-httpapi-ratelimit-headers-10, one item a limit;
``x-ratelimit-*`` with OpenAI's names and its way to write durations, for the tightest limit of each unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from streamproxy.domain.limits import Standing


def limit_fields(standings: Sequence[Standing]) -> Mapping[str, str]:
    """Header fields for *standings*; none where nothing is limited."""
    if not standings:
        return {}
    named = [(f"{s.unit}-{s.window_seconds}", s) for s in standings]
    fields = {
        "RateLimit-Policy": ", ".join(f'"{name}";q={s.limit};w={s.window_seconds}' for name, s in named),
        "RateLimit": ", ".join(f'"{name}";r={s.remaining};t={ceil(s.reset_seconds)}' for name, s in named),
    }
    for unit in ("requests", "tokens"):
        of_unit = [s for s in standings if s.unit == unit]
        if of_unit:
            tightest = min(of_unit, key=lambda s: s.remaining)
            fields[f"x-ratelimit-limit-{unit}"] = str(tightest.limit)
            fields[f"x-ratelimit-remaining-{unit}"] = str(tightest.remaining)
            fields[f"x-ratelimit-reset-{unit}"] = duration(tightest.reset_seconds)
    return fields


def duration(seconds: float) -> str:
    """As OpenAI writes it: ``120ms``, ``8.64s``, ``6m0s``, ``1h0m5s``."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{round(seconds, 2):g}s"
    minutes, rest = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
