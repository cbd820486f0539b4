"""States of provider keys, shared by all workers through one HASH.

A key that nobody reported on is missing. When nobody has reported for 31 days all of them are forgotten:
a key that is still bad then says so again at its first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from streamproxy.domain.keypool import KeyStatus
from streamproxy.stores.redis import KEY_STATES
from streamproxy.stores.redis.connect import RedisLink
from streamproxy.stores.redis.scripts import load_script

LIFE_MILLISECONDS = 31 * 86_400_000


class RedisKeyStates:
    """Fills KeyStates. The last report on a key wins."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._report = load_script("report_key")

    async def load(self, key_ids: Sequence[str]) -> Mapping[str, KeyStatus]:
        """The statuses of these keys, in one round trip."""
        if not key_ids:
            return {}
        values = await self._link.command("HMGET", KEY_STATES, *key_ids)
        found = zip(key_ids, values, strict=True)
        return {key_id: msgspec.json.decode(value, type=KeyStatus) for key_id, value in found if value is not None}

    async def report(self, key_id: str, status: KeyStatus) -> None:
        """Make *status* known to all workers."""
        await self._link.run(self._report, (KEY_STATES,), (key_id, msgspec.json.encode(status), LIFE_MILLISECONDS))
