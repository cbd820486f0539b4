"""Leases on provider keys: who answers the next call, and what its answer means for the key.

A key that has answered nobody yet is tried by one request at a time: whether it is dead or out of quota costs a
worker one call, not as many as happen to wait. Keys and upstreams may change while the worker runs; calls that are
under way keep what they have.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from random import Random

import msgspec

from streamproxy.domain.keypool import (
    HEALTHY,
    Candidate,
    Key,
    Upstream,
    Verdict,
    available,
    back_at,
    candidates,
    choose,
)
from streamproxy.domain.limits import Reservation
from streamproxy.errors import NoKeyAvailableError, NotFoundError, StoreUnavailableError
from streamproxy.services.catalogue import Catalogue, Provision
from streamproxy.services.keybook import KeyBook
from streamproxy.services.keylimits import KeyLimits

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
CATALOGUE_SECONDS = 3.0
# Models whose keys are remembered: clients name them, so their number and length are theirs.
MOST_MODELS = 256
LONGEST_MODEL = 128
# What a client is told to wait when no key says when it will be back.
UNKNOWN_RETURN = 30.0
# A bad key is refused before the model begins to think, so who is silent for so long is likely to answer: from
# then on nobody waits for the outcome of a trial.
TRIAL_SECONDS = 2.0


class Lease(msgspec.Struct, eq=False):
    """One key held for one call. Return it exactly once."""

    candidate: Candidate
    pool: KeyPool
    id: str
    began: float
    reservation: Reservation | None = None
    answered: bool = False
    held: bool = True

    def accepted(self) -> None:
        """The upstream answers by this key: whoever waited for the outcome of a trial may come."""
        self.answered = True
        self.pool.book.good(self.candidate)
        if self.pool.trials:
            self.pool.end_trial(self)

    async def give_back(
        self, verdict: Verdict | None = None, *, error: str = "", tokens: int = 0, sent: bool = True
    ) -> None:
        """The call is over, having used *tokens*; *sent* is false when it never reached the upstream.

        *error* is the code (of ours) it failed with, if the upstream is to blame; *verdict* what that showed
        about the key.
        """
        if not self.held:
            return
        self.held = False
        if error or self.candidate.key.limited:
            await self.pool.returned(self, verdict, error=error, tokens=tokens, sent=sent)
        else:  # as nearly always: nobody has to be told
            self.pool.let_go(self)


class KeyPool:
    """All upstreams with their keys, as this worker sees them. *clock* gives epoch seconds.

    *changed* is told the upstreams whenever they are others than before.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        book: KeyBook,
        limits: KeyLimits,
        changed: Callable[[Sequence[Upstream]], None],
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        self.book = book
        self._catalogue = catalogue
        self._provision = Provision()
        self._limits = limits
        self._changed = changed
        self._clock = clock
        self._random = random
        self._offered: dict[str, list[Candidate]] = {}
        self._running: Counter[str] = Counter()
        self._full: dict[str, float] = {}
        self.trials: dict[str, Lease] = {}
        self._news = asyncio.Event()

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        return self._provision.upstreams

    def held(self, key_id: str) -> bool:
        """Whether a person took this key out of use."""
        return key_id in self._provision.held

    def everything(self) -> list[Candidate]:
        """Every key there is, for no model in particular."""
        return [Candidate(upstream, key, "") for upstream in self.upstreams for key in upstream.keys]

    def spokesman(self, upstream: Upstream) -> Key | None:
        """A healthy key of *upstream*, to ask what any of them could be asked with."""
        now, statuses = self._clock(), self.book.statuses
        fit = (k for k in upstream.keys if not self.held(k.id) and statuses.get(k.id, HEALTHY).healthy(now))
        return next(fit, None)

    def offered(self, model: str) -> Sequence[Candidate]:
        """Every key for *model*; NotFoundError ``model_not_found`` when no upstream serves it."""
        if model in self._offered:
            return self._offered[model]
        found = candidates(self.upstreams, model)
        if not found:
            raise NotFoundError(f"The model {model!r} does not exist here.", code="model_not_found", param="model")
        offered = [c for c in found if not self.held(c.key.id)]
        if len(model) <= LONGEST_MODEL:
            if len(self._offered) >= MOST_MODELS:
                self._offered.clear()
            self._offered[model] = offered
        return offered

    async def lease(
        self,
        offered: Sequence[Candidate],
        *,
        tried: Collection[str] = (),
        avoid: Collection[str] = (),
        tokens: Callable[[], Awaitable[int]] | None = None,
    ) -> Lease:
        """The best available of *offered*; NoKeyAvailableError with retry_after when there is none.

        *tokens* counts what the call may use, for keys with a token window. A retry (something was *tried*) takes
        a key of another upstream than those to *avoid* (names), and one that has proved itself, where there are such.
        """
        while True:
            now, unwell, full = self._clock(), self.book.unwell, self._full
            free = offered
            if unwell or full or tried:
                free = available(offered, statuses=unwell, full=full, tried=tried, now=now)
            if not free:
                raise self._gone(offered)
            if tried:
                free = [c for c in free if c.upstream.name not in avoid] or free
                free = [c for c in free if self.book.proved(c.key.id, now)] or free
            on_trial = self._on_trial(now) if self.trials else ()
            candidate = choose(free, running=self._running, on_trial=on_trial, random=self._random)
            if candidate is None:
                await self._something_new()
                continue
            # Nothing is waited for until all of this is said: the next request must see that this one is here.
            key = candidate.key
            # Only what is counted needs a name.
            lease = Lease(candidate, self, secrets.token_hex(8) if key.limited else "", now)
            self._running[key.id] += 1
            if not self.book.proved(key.id, now):
                self.trials.setdefault(key.id, lease)
            if not key.limited or await self._has_room(lease, tokens):
                return lease

    def none_left(self, offered: Sequence[Candidate], tried: Collection[str]) -> NoKeyAvailableError | None:
        """The error that ``lease`` would raise now; None when a key of *offered* is available."""
        free = available(offered, statuses=self.book.unwell, full=self._full, tried=tried, now=self._clock())
        return None if free else self._gone(offered)

    async def _has_room(self, lease: Lease, tokens: Callable[[], Awaitable[int]] | None) -> bool:
        """Whether the limits of a lease's key have room for it; that they have none is then known."""
        key = lease.candidate.key
        try:
            need = await tokens() if tokens is not None and key.limits.tokens else 0
            room = await self._limits.take(lease.id, key, tokens=need)
        except BaseException:
            self.let_go(lease)
            raise
        if room.full_for:
            self._full[key.id] = self._clock() + room.full_for
            self.let_go(lease)
            return False
        lease.reservation = room.reservation
        return True

    async def returned(self, lease: Lease, verdict: Verdict | None, *, error: str, tokens: int, sent: bool) -> None:
        """The rest of ``Lease.give_back`` where somebody has to be told."""
        try:
            if error:
                began, answered = lease.began, lease.answered
                await self.book.bad(lease.candidate, verdict, error=error, began=began, answered=answered)
        finally:
            # Also when who waits for the book is cancelled: nobody else would give the place back.
            if self._full:
                self._full.pop(lease.candidate.key.id, None)
            self.let_go(lease)
            if lease.reservation is not None:
                await self._limits.give_back(lease.id, lease.reservation, tokens=tokens, refund=not sent)

    def let_go(self, lease: Lease) -> None:
        """Nothing runs on *lease* any more: its key has room again."""
        self._running[lease.candidate.key.id] -= 1
        if self.trials:
            self.end_trial(lease)

    def _on_trial(self, now: float) -> Collection[str]:
        return [key_id for key_id, lease in self.trials.items() if now - lease.began < TRIAL_SECONDS]

    def end_trial(self, lease: Lease) -> None:
        """Whoever waits for what comes of *lease*, if it is a trial, may go on."""
        if self.trials.get(lease.candidate.key.id) is lease:
            del self.trials[lease.candidate.key.id]
            self._news.set()
            self._news = asyncio.Event()

    async def _something_new(self) -> None:
        """Return when a trial has ended, or lasts so long that nobody waits for it any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TRIAL_SECONDS):
                await self._news.wait()

    def _gone(self, offered: Sequence[Candidate]) -> NoKeyAvailableError:
        now = self._clock()
        back = back_at(offered, self.book.statuses, self._full, now=now)
        wait = max(back - now, 1.0) if back is not None else UNKNOWN_RETURN
        return NoKeyAvailableError("No upstream key is available for this model now.", retry_after=wait)

    async def reload(self) -> None:
        """Read which upstreams and keys there are; what was known stays when nobody can say."""
        try:
            provision = await self._catalogue.read()
        except StoreUnavailableError:
            log.warning("keys and upstreams not read: the database is away")
            return
        if provision != self._provision:
            self._provision = provision
            self._offered.clear()
            self._changed(provision.upstreams)

    async def refresh(self) -> None:
        """Exchange news about the keys with the other workers."""
        await self.book.exchange(self.everything(), held=self._provision.held)

    async def keep_fresh(self) -> None:
        """Run until cancelled."""
        rounds = 0
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            rounds += 1
            if rounds % round(CATALOGUE_SECONDS / REFRESH_SECONDS) == 0:
                await self.reload()
            await self.refresh()
