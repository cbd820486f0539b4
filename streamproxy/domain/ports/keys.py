"""Provider keys and upstreams: what is known of them, and those that people added."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streamproxy.domain.keypool import KeyStatus, Upstream
from streamproxy.domain.keystates import Rule, Tally
from streamproxy.domain.limits import NO_LIMITS, LimitPolicy


class KeyStates(Protocol):
    """States and counts of provider keys, shared by all workers."""

    async def load(self, key_ids: Sequence[str]) -> Mapping[str, KeyStatus]:
        """The statuses of these keys; a key nobody reported on is missing from the answer."""

    async def change(self, key_id: str, rule: Rule) -> KeyStatus:
        """Replace the key's status by what *rule* makes of it, atomically, and return it.

        *rule* is called again whenever somebody else was faster.
        """

    async def claim(self, key_id: str, seconds: float) -> bool:
        """Whether the caller is the one to probe this key; nobody else is for *seconds*."""

    async def count(self, tallies: Mapping[str, Tally]) -> None:
        """Add to the counts of these keys."""

    async def tallies(self, key_ids: Sequence[str]) -> Mapping[str, Tally]:
        """The counts of these keys; a key that was never used may be missing."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A provider key as SQL keeps it: *secret* is None when it cannot be decrypted.

    *limits* of None are those of the upstream's keys in general.
    """

    id: str
    upstream: str
    secret: str | None = field(repr=False)
    last4: str
    weight: int = 1
    limits: LimitPolicy | None = None
    created: float = 0.0


class KeyStore(Protocol):
    """Provider keys that people added, and those they took out of use, wherever they came from."""

    async def add(self, key: StoredKey) -> None:
        """Keep it; ConflictError when it is there already."""

    async def all(self) -> Sequence[StoredKey]:
        """Every key, in the order of being added."""

    async def remove(self, key_id: str) -> bool:
        """False when there was none."""

    async def held(self) -> Collection[str]:
        """The ids of the keys that people disabled."""

    async def hold(self, key_id: str) -> None:
        """Take a key out of use until it is released, whatever else is known of it."""

    async def release(self, key_id: str) -> bool:
        """False when it was not held."""


@dataclass(frozen=True, slots=True)
class StoredUpstream:
    """An upstream as SQL keeps it, without keys. *key_limits* hold for each key that has none of its own."""

    upstream: Upstream
    key_limits: LimitPolicy = NO_LIMITS


class UpstreamStore(Protocol):
    """Upstreams that people added."""

    async def put(self, upstream: StoredUpstream) -> None:
        """Keep it under its name, instead of the one that was there."""

    async def all(self) -> Sequence[StoredUpstream]:
        """In order of name."""

    async def remove(self, name: str) -> bool:
        """False when there was none."""


class KeyCalls(Protocol):
    """How often provider keys have answered."""

    async def calls(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        """Answered calls by key id; a key that never answered is missing."""
