"""The key pool: which provider credential answers the next request.

A key is *available = healthy and not full* (caddy's words for upstreams). How it comes to stand as it does
is the business of ``keystates``; here is only the choice, pure: statuses and randomness are arguments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from random import Random

from streamproxy.domain.limits import NO_LIMITS, LimitPolicy
from streamproxy.domain.quirks import NO_QUIRKS, Quirks


class KeyState(StrEnum):
    """How a key stands, as ``key list`` prints it."""

    HEALTHY = "healthy"
    COOLING = "cooling"
    PARKED = "parked"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Key:
    """One provider credential. *id* is safe to log and to store; *secret* never shows in repr.

    *limits* are what its provider allows it, or what we allow ourselves; full is what has no room in them.
    """

    id: str
    secret: str = field(repr=False)
    weight: int = 1
    limits: LimitPolicy = NO_LIMITS
    # The only part of a key that people ever see; short keys show nothing.
    last4: str = field(init=False, repr=False, compare=False)
    # Whether anything of what it is used for is counted.
    limited: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "last4", self.secret[-4:] if len(self.secret) >= 12 else "")
        object.__setattr__(self, "limited", self.limits != NO_LIMITS)


def key_id(upstream: str, secret: str) -> str:
    """What a key is called where the key itself must not stand: the same wherever it was configured."""
    return hashlib.sha256(f"{upstream} {secret}".encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider endpoint. *models* maps a name clients use, or a pattern ending in ``*``, to the
    provider's own name (``*`` keeps the name). *allow_private*: its addresses may be private, its scheme http."""

    name: str
    dialect: str
    base_url: str
    models: Mapping[str, str]
    keys: tuple[Key, ...] = ()
    priority: int = 0
    weight: int = 1
    quirks: Quirks = NO_QUIRKS
    allow_private: bool = False

    def provider_model(self, model: str) -> str | None:
        """What this upstream calls *model*, None when it does not serve it."""
        if model in self.models:
            name = self.models[model]
            return model if name == "*" else name
        for pattern, name in self.models.items():
            if pattern.endswith("*") and model.startswith(pattern[:-1]):
                return model if name == "*" else name
        return None


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """A key's shared state. Times are epoch seconds; *until* is 0 for no end.

    *reason* is an error code of ours, *message* the provider's words, cleaned; *changed* is when the state
    began. *setbacks* counts the cool-downs in a row without a good answer between them.
    """

    state: KeyState = KeyState.HEALTHY
    until: float = 0.0
    reason: str = ""
    message: str = ""
    changed: float = 0.0
    setbacks: int = 0

    def healthy(self, now: float) -> bool:
        """A cool-down ends by itself; a parked or disabled key is brought back by a probe or by a person."""
        if self.state is KeyState.HEALTHY:
            return True
        return self.state is KeyState.COOLING and self.until <= now

    def standing(self, now: float) -> KeyState:
        """The state as people read it: a cool-down that has ended is none."""
        return KeyState.HEALTHY if self.healthy(now) else self.state


HEALTHY = KeyStatus()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A key together with the upstream it opens and the name the model has there."""

    upstream: Upstream
    key: Key
    model: str


def candidates(upstreams: Sequence[Upstream], model: str) -> list[Candidate]:
    """Every key that could answer for *model*, whatever its state."""
    found = []
    for upstream in upstreams:
        name = upstream.provider_model(model)
        if name is not None:
            found += [Candidate(upstream, key, name) for key in upstream.keys]
    return found


def available(
    offered: Sequence[Candidate],
    *,
    statuses: Mapping[str, KeyStatus],
    full: Mapping[str, float],
    tried: Collection[str],
    now: float,
) -> list[Candidate]:
    """Those of *offered* that are healthy, not full and not tried before. *full* says until when a key is."""
    return [
        c
        for c in offered
        if c.key.id not in tried and statuses.get(c.key.id, HEALTHY).healthy(now) and full.get(c.key.id, 0.0) <= now
    ]


def choose(
    free: Sequence[Candidate], *, running: Mapping[str, int], on_trial: Collection[str], random: Random
) -> Candidate | None:
    """Pick one of the available keys by priority, then by weight among those with the fewest running.

    A key *on_trial* has answered nobody yet and one request is finding out whether it does: the others leave it
    alone. None when that is so of every key of the best priority: what comes of it decides.
    """
    chosen: Candidate | None = None
    best, least, weights = inf, inf, 0
    for candidate in free:
        upstream, key = candidate.upstream, candidate.key
        if upstream.priority > best:
            continue
        if upstream.priority < best:
            chosen, best, least = None, upstream.priority, inf
        if key.id in on_trial:
            continue
        weight = upstream.weight * key.weight
        load = running[key.id] / weight if key.id in running else 0.0
        if load < least:
            chosen, least, weights = candidate, load, weight
        elif load == least:
            # Each of those met so far is the chosen one by its share of their weights.
            weights += weight
            if random.random() * weights >= weights - weight:
                chosen = candidate
    return chosen


def back_at(
    offered: Sequence[Candidate], statuses: Mapping[str, KeyStatus], full: Mapping[str, float], *, now: float
) -> float | None:
    """When the first of these keys may be available again (epoch seconds), None when nobody knows."""
    times = []
    for candidate in offered:
        status, room = statuses.get(candidate.key.id, HEALTHY), full.get(candidate.key.id, 0.0)
        if status.healthy(now):
            times.append(room)
        elif status.until > 0:
            times.append(max(status.until, room))
    return min(times, default=None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one answer means for the key that got it. *seconds* is None where the state does not end by itself.

    *message* is what the provider said, cleaned: for the people who look after the keys, never for clients.
    """

    state: KeyState
    seconds: float | None
    reason: str
    message: str = ""
