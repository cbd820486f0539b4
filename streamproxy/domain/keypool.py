"""The key pool: which provider credential answers the next request.

A key is *available = healthy and not full* (caddy's words for upstreams). States change by what a
provider answered; ``choose`` is pure: statuses and randomness are arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from streamproxy.domain.quirks import NO_QUIRKS, Quirks


class KeyState(StrEnum):
    """How a key stands, as ``key list`` prints it."""

    HEALTHY = "healthy"
    COOLING = "cooling"
    PARKED = "parked"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Key:
    """One provider credential. *id* is safe to log and to store; *secret* never shows in repr."""

    id: str
    secret: str = field(repr=False)
    weight: int = 1
    max_running: int = 0

    @property
    def last4(self) -> str:
        """The only part of a key that people ever see; short keys show nothing."""
        return self.secret[-4:] if len(self.secret) >= 12 else ""


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
    """A key's shared state. *until* is epoch seconds, 0 for no end; *reason* is an error code of ours."""

    state: KeyState = KeyState.HEALTHY
    until: float = 0.0
    reason: str = ""

    def healthy(self, now: float) -> bool:
        """A cool-down and a parking end by themselves; disabled stays."""
        if self.state is KeyState.HEALTHY:
            return True
        return self.state is not KeyState.DISABLED and 0 < self.until <= now


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


def choose(
    offered: Sequence[Candidate],
    *,
    statuses: Mapping[str, KeyStatus],
    running: Mapping[str, int],
    tried: Collection[str],
    now: float,
    random: Random,
) -> Candidate | None:
    """Pick by priority, then by weight among those with the fewest running; None when none is available."""
    available = [
        c
        for c in offered
        if c.key.id not in tried
        and statuses.get(c.key.id, HEALTHY).healthy(now)
        and not 0 < c.key.max_running <= running.get(c.key.id, 0)
    ]
    if not available:
        return None
    best = min(c.upstream.priority for c in available)
    first = [c for c in available if c.upstream.priority == best]
    weights = [c.upstream.weight * c.key.weight for c in first]
    load = [running.get(c.key.id, 0) / w for c, w in zip(first, weights, strict=True)]
    least = min(load)
    idle = [(c, w) for c, w, share in zip(first, weights, load, strict=True) if share == least]
    return random.choices([c for c, _ in idle], [w for _, w in idle])[0]


def back_at(offered: Sequence[Candidate], statuses: Mapping[str, KeyStatus]) -> float | None:
    """When the first of these keys will be healthy again (epoch seconds), None when nobody knows."""
    times = [statuses[c.key.id].until for c in offered if c.key.id in statuses and statuses[c.key.id].until > 0]
    return min(times, default=None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one answer means for the key that got it. *seconds* is None where the state does not end by itself."""

    state: KeyState
    seconds: float | None
    reason: str

    def status(self, now: float) -> KeyStatus:
        return KeyStatus(self.state, 0.0 if self.seconds is None else now + self.seconds, self.reason)
