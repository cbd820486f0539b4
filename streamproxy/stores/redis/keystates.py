"""States and counts of provider keys, shared by all workers through two HASHes.

A key that nobody reported on is missing. When nobody has reported for 31 days all of them are forgotten:
a key that is still bad then says so again at its first use. Counts are added to blindly: when Redis did not
answer they may be there twice, or not at all, which nothing is decided by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from streamproxy.domain.keypool import HEALTHY, KeyStatus
from streamproxy.domain.keystates import Rule, Tally
from streamproxy.errors import StoreUnavailableError
from streamproxy.stores.redis import KEY_STATES, KEY_TALLIES, probe_key
from streamproxy.stores.redis.connect import RedisLink
from streamproxy.stores.redis.scripts import load_script

LIFE_MILLISECONDS = 31 * 86_400_000
# Whoever loses a race reads again. So many lost in a row are a fault, not bad luck.
MAX_TRIES = 20
_TALLY_FIELDS = ("requests", "errors", "last", "at")


class RedisKeyStates:
    """Fills KeyStates."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._swap = load_script("swap_key")
        self._add = load_script("tally_keys")

    async def load(self, key_ids: Sequence[str]) -> Mapping[str, KeyStatus]:
        """The statuses of these keys, in one round trip."""
        if not key_ids:
            return {}
        values = await self._link.command("HMGET", KEY_STATES, *key_ids)
        found = zip(key_ids, values, strict=True)
        return {key_id: _read(value) for key_id, value in found if value is not None}

    async def change(self, key_id: str, rule: Rule) -> KeyStatus:
        """Replace the key's status by what *rule* makes of it, whoever else does so; return it."""
        stands: bytes = await self._link.command("HGET", KEY_STATES, key_id) or b""
        for _ in range(MAX_TRIES):
            old = _read(stands)
            new = rule(old)
            if new == old:
                return old
            wanted = msgspec.json.encode(new)
            stands = await self._link.run(self._swap, (KEY_STATES,), (key_id, stands, wanted, LIFE_MILLISECONDS))
            if stands == wanted:
                return new
        raise StoreUnavailableError("The state of a key changes too fast.")

    async def claim(self, key_id: str, seconds: float) -> bool:
        """Whether the caller is the one to probe this key; nobody else is for *seconds*."""
        name = probe_key(key_id)
        return await self._link.command("SET", name, b"1", "NX", "PX", max(1, round(seconds * 1000))) is not None

    async def count(self, tallies: Mapping[str, Tally]) -> None:
        """Add to the counts of these keys."""
        args: list[str | int | float] = [LIFE_MILLISECONDS]
        for key_id, tally in tallies.items():
            args += [key_id, tally.requests, tally.errors, tally.last_error, tally.at]
        if tallies:
            await self._link.run(self._add, (KEY_TALLIES,), args)

    async def tallies(self, key_ids: Sequence[str]) -> Mapping[str, Tally]:
        """The counts of these keys; a key that was never used has none."""
        if not key_ids:
            return {}
        names = [f"{key_id}:{field}" for key_id in key_ids for field in _TALLY_FIELDS]
        values = await self._link.command("HMGET", KEY_TALLIES, *names)
        rows = (values[i : i + len(_TALLY_FIELDS)] for i in range(0, len(values), len(_TALLY_FIELDS)))
        return {key_id: _tally(*row) for key_id, row in zip(key_ids, rows, strict=True) if row[0] is not None}


def _read(value: bytes) -> KeyStatus:
    return msgspec.json.decode(value, type=KeyStatus) if value else HEALTHY


def _tally(requests: bytes, errors: bytes | None, last: bytes | None, at: bytes | None) -> Tally:
    return Tally(int(requests), int(errors or 0), (last or b"").decode(), float(at or 0))
