"""What people do with provider keys: look at them, add them, take them out of use, ask whether they work.

The shared store may be away, or out of reach for a command: then states are what they are at a start (healthy,
unless a person disabled the key), ``reachable`` says so, and only what SQL keeps can be changed. A key's text goes
in here and never comes out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from streamproxy.domain.keypool import HEALTHY, Candidate, Key, KeyState, KeyStatus, key_id
from streamproxy.domain.keystates import Tally, enabled, found, restored, still
from streamproxy.domain.limits import LimitPolicy
from streamproxy.domain.ports import KeyStates, KeyStore, StoredKey, UpstreamTransport
from streamproxy.errors import BadRequestError, ConflictError, NotFoundError, StoreUnavailableError
from streamproxy.services.catalogue import Catalogue
from streamproxy.services.probes import probe

# RFC 9110, 5.5: a key goes into a header as it is, so it may hold nothing that ends one.
_SECRET = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as people see it. *stored*: it was added by them, and is not in the settings; *held*: they disabled it.

    *candidate* is None where nothing can be called by it: its upstream is gone, or its secret is.
    """

    id: str
    upstream: str
    last4: str
    stored: bool
    held: bool
    status: KeyStatus
    tally: Tally
    candidate: Candidate | None

    def state(self, now: float) -> KeyState:
        if self.held or self.candidate is None:
            return KeyState.DISABLED
        return self.status.standing(now)


class Keyring:
    """All keys of an installation. *clock* gives epoch seconds; *retry* is what a failed probe adds to a parking."""

    def __init__(
        self,
        catalogue: Catalogue,
        keys: KeyStore,
        *,
        states: KeyStates | None,
        transport: UpstreamTransport,
        clock: Callable[[], float],
        retry: float = 300.0,
    ) -> None:
        self._catalogue = catalogue
        self._keys = keys
        self._states = states
        self._transport = transport
        self._clock = clock
        self._retry = retry
        self.reachable = states is not None

    async def all(self) -> list[KnownKey]:
        """Every key, by upstream as they are asked, then those that nothing can be called by."""
        provision, stored = await self._catalogue.read(), {key.id: key for key in await self._keys.all()}
        usable = [Candidate(upstream, key, "") for upstream in provision.upstreams for key in upstream.keys]
        lost = [key for key in stored.values() if key.id not in {c.key.id for c in usable}]
        ids = [*(c.key.id for c in usable), *(key.id for key in lost)]
        statuses, tallies = await self._standing(ids)

        def known(key: Key | StoredKey, upstream: str, candidate: Candidate | None) -> KnownKey:
            status, tally = statuses.get(key.id, HEALTHY), tallies.get(key.id, Tally())
            held = key.id in provision.held
            return KnownKey(key.id, upstream, key.last4, key.id in stored, held, status, tally, candidate)

        return [known(c.key, c.upstream.name, c) for c in usable] + [known(key, key.upstream, None) for key in lost]

    async def _standing(self, ids: Sequence[str]) -> tuple[Mapping[str, KeyStatus], Mapping[str, Tally]]:
        if self._states is not None:
            try:
                return await self._states.load(ids), await self._states.tallies(ids)
            except StoreUnavailableError:
                self.reachable = False
        return {}, {}

    async def one(self, name: str) -> KnownKey:
        """The key whose id is *name* or begins with it, or whose last 4 it is; NotFoundError when not exactly one."""
        name = name.removeprefix("…")
        keys = await self.all()
        found = [k for k in keys if name == k.id] or [
            k for k in keys if (len(name) >= 4 and k.id.startswith(name)) or (name and name == k.last4)
        ]
        if len(found) > 1:
            which = ", ".join(f"{k.id} (…{k.last4} of {k.upstream})" for k in found)
            raise NotFoundError(f"{name!r} could be several keys: {which}; say the id.", code="key_not_found")
        if not found:
            raise NotFoundError(f"There is no key {name!r}; `streamproxy key list` shows all.", code="key_not_found")
        return found[0]

    async def add(self, upstream: str, secret: str, *, weight: int = 1, limits: LimitPolicy | None = None) -> StoredKey:
        """Keep a key for *upstream*, for whose keys' limits it has its own or theirs. Workers find it by themselves.

        NotFoundError for an upstream that nobody configured, ConflictError for a key that is there already.
        """
        await self.check(upstream, secret)
        plain = Key(key_id(upstream, secret), secret)
        key = StoredKey(plain.id, upstream, secret, plain.last4, weight, limits, self._clock())
        await self._keys.add(key)
        return key

    async def check(self, upstream: str, secret: str) -> None:
        """What ``add`` asks of a key before it is kept."""
        if _SECRET.fullmatch(secret) is None:
            raise BadRequestError("A key is 1 to 4096 visible ASCII characters.", code="invalid_key", param="key")
        names = await self._catalogue.names()
        if upstream not in names:
            known = ", ".join(names)
            raise NotFoundError(f"There is no upstream {upstream!r}, only {known}.", code="upstream_not_found")

    async def count(self, key: StoredKey, requests: int) -> bool:
        """Add calls that were made elsewhere to what the key was used for; False when the counts are out of reach."""
        if self._states is None:
            return False
        try:
            await self._states.count({key.id: Tally(requests=requests)})
        except StoreUnavailableError:
            return False
        return True

    async def remove(self, key: KnownKey) -> None:
        """Forget a stored key; ConflictError for one of the settings."""
        if not await self._keys.remove(key.id):
            raise ConflictError("This key stands in the settings: take it out there, or disable it here.")

    async def disable(self, key: KnownKey) -> None:
        """Take it out of use until somebody enables it: that outlives every restart."""
        await self._keys.hold(key.id)

    async def enable(self, key: KnownKey) -> None:
        """Back into use, whatever its provider said before."""
        await self._keys.release(key.id)
        if self._states is not None:
            await self._states.change(key.id, enabled(now=self._clock()))

    async def probe(self, key: KnownKey) -> str:
        """Ask the provider now, and let all workers know; returns our code of what is wrong, empty for nothing."""
        if key.candidate is None:
            raise ConflictError("Nothing can be called by this key: its upstream or its secret is gone.")
        began = self._clock()
        failure = await probe(self._transport, key.candidate)
        now = self._clock()
        if failure is None:
            rule = restored(key.status, now=now)
        elif failure.verdict is not None and key.status.healthy(now):
            rule = found(failure.verdict, began=began, now=now)
        else:
            rule = still(key.status, failure.verdict, now=now, wait=self._retry)
        if self._states is not None:
            await self._states.change(key.id, rule)
        return "" if failure is None else failure.error.code
