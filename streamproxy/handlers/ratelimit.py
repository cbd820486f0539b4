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
    policies = states = ""
    tightest: dict[str, Standing] = {}
    for standing in standings:
        unit, seconds = standing.unit, standing.window_seconds
        policies += f', "{unit}-{seconds}";q={standing.limit};w={seconds}'
        states += f', "{unit}-{seconds}";r={standing.remaining};t={ceil(standing.reset_seconds)}'
        if unit not in tightest or standing.remaining < tightest[unit].remaining:
            tightest[unit] = standing
    fields = {"RateLimit-Policy": policies[2:], "RateLimit": states[2:]}
    for unit, standing in tightest.items():
        fields[f"x-ratelimit-limit-{unit}"] = f"{standing.limit}"
        fields[f"x-ratelimit-remaining-{unit}"] = f"{standing.remaining}"
        fields[f"x-ratelimit-reset-{unit}"] = duration(standing.reset_seconds)
    return fields


def duration(seconds: float) -> str:
    """As OpenAI writes it: ``120ms``, ``8.64s``, ``6m0s``, ``1h0m5s``."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{round(seconds, 2):g}s"
    whole = ceil(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
