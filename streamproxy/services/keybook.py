"""What one worker knows of the keys: how each stands, which have proved themselves, what they were used for.

Its own findings count at once; the other workers' come with the next ``exchange``, a second later at most. When
Redis is away a worker goes on by what it knows, and tells it when Redis is back: also a Redis that lost its data
learns it again.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from streamproxy.domain.keypool import HEALTHY, Candidate, KeyState, KeyStatus, Verdict
from streamproxy.domain.keystates import FAILURES_IN_A_ROW, Rule, Tally, answered, failing, found, merged
from streamproxy.domain.ports import KeyStates
from streamproxy.errors import StoreUnavailableError

log = logging.getLogger(__name__)

# A key that has answered nobody for so long may have died meanwhile: it has to prove itself again.
PROOF_SECONDS = 300.0
# What one request met and another need not (a model or region that the key may not use, a path that is not
# there): counted, but no reason to rest the key.
_ABOUT_THE_REQUEST = frozenset({"upstream_key_refused", "upstream_rejected"})


class KeyWatch(Protocol):
    """Whoever counts what keys do."""

    def called(self, upstream: str, last4: str) -> None:
        """A call was answered, well or badly."""

    def failed(self, upstream: str, last4: str, error: str) -> None:
        """A call failed; *error* is a code of ours."""

    def standings(self, counts: Mapping[tuple[str, str, KeyState], int]) -> None:
        """How many keys of an upstream and last 4 stand how, now."""


class KeyBook:
    """See the module. *backoff* gives a pause in seconds by the number of setbacks so far.

    *statuses* are all that are known, *unwell* those of them that are not healthy, or were not when last looked at.
    """

    def __init__(
        self,
        states: KeyStates,
        *,
        clock: Callable[[], float],
        backoff: Callable[[int], float],
        watch: KeyWatch,
    ) -> None:
        self.statuses: dict[str, KeyStatus] = {}
        self.unwell: dict[str, KeyStatus] = {}
        self._states = states
        self._clock = clock
        self._backoff = backoff
        self._watch = watch
        self._proof: dict[str, float] = {}
        self._failures: Counter[str] = Counter()
        self._tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._calls: Counter[str] = Counter()
        self._better: set[str] = set()

    def proved(self, key_id: str, now: float) -> bool:
        """Whether the key has answered this worker lately, and nothing bad is known since."""
        return key_id in self._proof and now - self._proof[key_id] < PROOF_SECONDS

    def good(self, candidate: Candidate) -> None:
        """The key was accepted."""
        key_id = candidate.key.id
        self._proof[key_id] = self._clock()
        if key_id in self._failures:
            del self._failures[key_id]
        if key_id in self.statuses and self.statuses[key_id].setbacks:
            self._better.add(key_id)
        self._count_call(candidate)

    async def bad(
        self, candidate: Candidate, verdict: Verdict | None, *, error: str, began: float, answered: bool
    ) -> None:
        """A call that left at *began* failed with *error*; *verdict* is what the provider said of the key by that.

        *answered*: it had been accepted before, so it is counted already.
        """
        if not answered:
            self._count_call(candidate)
        self._count_error(candidate, error)
        key_id, now = candidate.key.id, self._clock()
        if verdict is not None:
            await self._change(candidate, found(verdict, began=began, now=now))
        elif error not in _ABOUT_THE_REQUEST:
            self._failures[key_id] += 1
            if self._failures[key_id] >= FAILURES_IN_A_ROW or self.statuses.get(key_id, HEALTHY).setbacks:
                await self._change(candidate, failing(error, began=began, now=now, pause=self._backoff))

    async def note(self, candidate: Candidate, rule: Rule) -> KeyStatus:
        """Apply *rule* to the key's status, here and for all workers; return it."""
        await self._change(candidate, rule)
        return self.statuses.get(candidate.key.id, HEALTHY)

    async def exchange(self, candidates: Iterable[Candidate], *, held: Collection[str]) -> None:
        """Tell the other workers what is new here, learn what is new there."""
        known = {c.key.id: c for c in candidates}
        try:
            await self._tell()
            theirs = await self._states.load(list(known))
            for key_id in known:
                await self._compare(key_id, theirs.get(key_id, HEALTHY))
        except StoreUnavailableError:
            log.debug("key states not exchanged: Redis is away")
        self._show(known.values(), held)

    async def _tell(self) -> None:
        tallies, self._tallies = self._tallies, defaultdict(Tally)
        calls, self._calls = self._calls, Counter()
        for key_id, requests in calls.items():
            tallies[key_id] += Tally(requests=requests)
        better, self._better = self._better, set()
        await self._states.count(tallies)
        for key_id in better:
            self._learn(key_id, await self._states.change(key_id, answered(self._clock())))

    async def _compare(self, key_id: str, theirs: KeyStatus) -> None:
        """The later news holds. Ours are the later ones where Redis was away, or has forgotten."""
        mine = self.statuses.get(key_id, HEALTHY)
        if mine.changed > theirs.changed:
            self._learn(key_id, await self._states.change(key_id, merged(mine)))
        elif theirs != mine:
            self._learn(key_id, theirs)
            if theirs.state is not KeyState.HEALTHY:
                self._proof.pop(key_id, None)

    async def _change(self, candidate: Candidate, rule: Rule) -> None:
        key_id = candidate.key.id
        old = self.statuses.get(key_id, HEALTHY)
        new = rule(old)
        if new == old:
            return
        # Before anything is waited for: no other request of this worker may still choose the key.
        self._learn(key_id, new)
        self._failures.pop(key_id, None)
        self._proof.pop(key_id, None)
        self._log(candidate, new)
        try:
            self._learn(key_id, await self._states.change(key_id, rule))
        except StoreUnavailableError:
            log.warning("the state of key …%s stays with this worker: Redis is away", candidate.key.last4)

    def _learn(self, key_id: str, status: KeyStatus) -> None:
        self.statuses[key_id] = status
        if status.state is KeyState.HEALTHY:
            self.unwell.pop(key_id, None)
        else:
            self.unwell[key_id] = status

    @staticmethod
    def _log(candidate: Candidate, status: KeyStatus) -> None:
        levels = {KeyState.HEALTHY: logging.INFO, KeyState.DISABLED: logging.ERROR}
        level = levels.get(status.state, logging.WARNING)
        upstream, why = candidate.upstream.name, status.reason or "it answers again"
        log.log(level, "key …%s of %s is %s: %s", candidate.key.last4, upstream, status.state, why)

    def _count_call(self, candidate: Candidate) -> None:
        self._calls[candidate.key.id] += 1
        self._watch.called(candidate.upstream.name, candidate.key.last4)

    def _count_error(self, candidate: Candidate, error: str) -> None:
        self._tallies[candidate.key.id] += Tally(errors=1, last_error=error, at=self._clock())
        self._watch.failed(candidate.upstream.name, candidate.key.last4, error)

    def _show(self, candidates: Iterable[Candidate], held: Collection[str]) -> None:
        now, counts = self._clock(), Counter[tuple[str, str, KeyState]]()
        for candidate in candidates:
            key = candidate.key
            state = KeyState.DISABLED if key.id in held else self.statuses.get(key.id, HEALTHY).standing(now)
            counts[candidate.upstream.name, key.last4, state] += 1
        self._watch.standings(counts)
