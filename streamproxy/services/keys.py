"""Leases on provider keys: who answers the next call, and what its answer means for the key.

States are shared by all workers through ``KeyStates``; each worker decides by what it knows, which is
its own reports at once and the others' within a second. When Redis is away a worker goes on with its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random

from streamproxy.domain.keypool import (
    Candidate,
    KeyState,
    KeyStatus,
    Upstream,
    Verdict,
    back_at,
    candidates,
    choose,
)
from streamproxy.domain.ports import KeyStates
from streamproxy.errors import NoKeyAvailableError, NotFoundError, StoreUnavailableError

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
# What a client is told to wait when no key says when it will be back.
UNKNOWN_RETURN = 30.0


@dataclass(slots=True)
class Lease:
    """One key held for one call. Return it exactly once."""

    candidate: Candidate
    pool: KeyPool
    held: bool = True

    async def give_back(self, verdict: Verdict | None = None) -> None:
        """The call is over; *verdict* says what it showed about the key, None that all is well."""
        if self.held:
            self.held = False
            await self.pool.returned(self.candidate, verdict)


class KeyPool:
    """All upstreams with their keys, as this worker sees them."""

    def __init__(
        self, upstreams: Sequence[Upstream], *, states: KeyStates, clock: Callable[[], float], random: Random
    ) -> None:
        self.upstreams = tuple(upstreams)
        self._states = states
        self._clock = clock
        self._random = random
        self._statuses: dict[str, KeyStatus] = {}
        self._running: Counter[str] = Counter()

    def offered(self, model: str) -> list[Candidate]:
        """Every key for *model*; NotFoundError ``model_not_found`` when no upstream serves it."""
        found = candidates(self.upstreams, model)
        if not found:
            raise NotFoundError(f"The model {model!r} does not exist here.", code="model_not_found", param="model")
        return found

    def lease(self, offered: Sequence[Candidate], *, tried: Collection[str] = ()) -> Lease:
        """The best available of *offered*; NoKeyAvailableError with retry_after when there is none."""
        now = self._clock()
        candidate = choose(
            offered, statuses=self._statuses, running=self._running, tried=tried, now=now, random=self._random
        )
        if candidate is None:
            back = back_at(offered, self._statuses)
            wait = max(back - now, 1.0) if back is not None else UNKNOWN_RETURN
            raise NoKeyAvailableError("No upstream key is available for this model now.", retry_after=wait)
        self._running[candidate.key.id] += 1
        return Lease(candidate, self)

    async def returned(self, candidate: Candidate, verdict: Verdict | None) -> None:
        key = candidate.key
        self._running[key.id] -= 1
        if verdict is None:
            return
        status = verdict.status(self._clock())
        self._statuses[key.id] = status
        level = logging.ERROR if status.state is KeyState.DISABLED else logging.WARNING
        log.log(level, "key …%s of %s is %s: %s", key.last4, candidate.upstream.name, status.state, status.reason)
        try:
            await self._states.report(key.id, status)
        except StoreUnavailableError:
            log.warning("the state of key …%s stays with this worker: Redis is away", key.last4)

    async def refresh(self) -> None:
        """Learn what other workers reported."""
        ids = [key.id for upstream in self.upstreams for key in upstream.keys]
        try:
            self._statuses.update(await self._states.load(ids))
        except StoreUnavailableError:
            log.debug("key states not refreshed: Redis is away")

    async def keep_fresh(self) -> None:
        """Run until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)
