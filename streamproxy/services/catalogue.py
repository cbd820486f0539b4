"""Which upstreams and keys there are: those of the settings, those that people added, read together.

An upstream of the settings stands before a stored one of the same name; stored keys join the keys that its
settings name. The store may be away: then ``read`` says so, and whoever read before goes on with that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from streamproxy.domain.keypool import Key, Upstream, key_id
from streamproxy.domain.ports import KeyStore, StoredKey, StoredUpstream, UpstreamStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Provision:
    """*held* are the ids of the keys that people took out of use."""

    upstreams: tuple[Upstream, ...] = ()
    held: frozenset[str] = frozenset()


class Catalogue:
    """*fixed* are the upstreams of the settings. *spare* is one that stands by: it serves once a key was added to it.

    *last_resort* (the demo model) serves while there is nothing else.
    """

    def __init__(
        self,
        fixed: Sequence[StoredUpstream],
        *,
        spare: StoredUpstream | None = None,
        last_resort: Upstream | None = None,
        keys: KeyStore,
        upstreams: UpstreamStore,
    ) -> None:
        self._fixed = fixed
        self._spare = spare
        self._last_resort = last_resort
        self._keys = keys
        self._upstreams = upstreams
        self._unreadable: set[str] = set()

    async def read(self) -> Provision:
        """Everything as it stands now; StoreUnavailableError when the store does not answer."""
        stored = await self._keys.all()
        self._warn(stored)
        known = {entry.upstream.name: entry for entry in [*await self._upstreams.all(), *self._fixed]}
        if self._spare is not None and any(key.upstream == self._spare.upstream.name for key in stored):
            known.setdefault(self._spare.upstream.name, self._spare)
        found = tuple(with_keys(entry, stored) for entry in known.values())
        if not found and self._last_resort is not None:
            found = (self._last_resort,)
        return Provision(found, frozenset(await self._keys.held()))

    async def names(self) -> list[str]:
        """The upstreams that a key may be for."""
        spare = [self._spare] if self._spare is not None else []
        known = [*self._fixed, *spare, *await self._upstreams.all()]
        return list(dict.fromkeys(entry.upstream.name for entry in known))

    def _warn(self, stored: Iterable[StoredKey]) -> None:
        for key in stored:
            if key.secret is None and key.id not in self._unreadable:
                self._unreadable.add(key.id)
                log.error(
                    "key …%s of %s cannot be decrypted: it was stored under another secret; add it again",
                    key.last4,
                    key.upstream,
                )


def with_keys(entry: StoredUpstream, stored: Iterable[StoredKey]) -> Upstream:
    """The upstream with its own keys and those of *stored* that are for it.

    One without any (a model on this machine) gets a key that sends nothing.
    """
    name = entry.upstream.name
    keys = {key.id: replace(key, limits=entry.key_limits) for key in entry.upstream.keys}
    for key in stored:
        if key.upstream == name and key.secret is not None:
            limits = entry.key_limits if key.limits is None else key.limits
            keys.setdefault(key.id, Key(key.id, key.secret, key.weight, limits))
    if not keys:
        keys[""] = Key(key_id(name, ""), "", limits=entry.key_limits)
    return replace(entry.upstream, keys=tuple(keys.values()))
