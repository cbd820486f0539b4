"""Probes: a cheap question to a provider that shows whether a key works again, so that it comes back by itself.

A parked key is asked when its time ends, a disabled one every few minutes, by one worker at a time; what a person
took out of use is left alone. The question is the list of models: it costs nothing. It does not show whether
there is money again, but a key that comes back too early is parked again by its first answer, which one request
at a time waits for. While Redis is away each worker asks for itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from streamproxy.dialects import dialect_of
from streamproxy.dialects.base import Failure
from streamproxy.domain.keypool import HEALTHY, Candidate, KeyState, KeyStatus
from streamproxy.domain.keystates import restored, still
from streamproxy.domain.ports import KeyStates, UpstreamReply, UpstreamTransport
from streamproxy.errors import StoreUnavailableError, UpstreamError, UpstreamTimeoutError
from streamproxy.services.keys import KeyPool

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 10.0
# An error answer is a few hundred bytes; what a probe says beyond that is not read.
LONGEST_ANSWER = 1 << 16


async def probe(transport: UpstreamTransport, candidate: Candidate) -> Failure | None:
    """Ask the upstream by this key; None when it answers well, else what that means. Raises none of its errors."""
    dialect = dialect_of(candidate.upstream)
    call = dialect.models(secret=candidate.key.secret)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            url = candidate.upstream.base_url + call.path
            reply = await transport.open(url, headers=call.headers, body=call.body)
            try:
                return (
                    None if reply.status == 200 else dialect.failure(reply.status, reply.headers, await _start(reply))
                )
            finally:
                reply.close()
    except TimeoutError:
        return Failure(UpstreamTimeoutError("the upstream did not answer the probe", code="upstream_probe_timeout"))
    except UpstreamError as error:
        return Failure(error)


async def _start(reply: UpstreamReply) -> bytes:
    body = b""
    while len(body) < LONGEST_ANSWER and (batch := await reply.batch()):
        body += batch
    return body


class Prober:
    """Looks after the keys of a pool. *every* is the seconds between two probes of one disabled key."""

    def __init__(
        self,
        pool: KeyPool,
        transport: UpstreamTransport,
        *,
        states: KeyStates,
        every: float,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._transport = transport
        self._states = states
        self._every = every
        self._clock = clock
        self._asked: dict[str, float] = {}

    async def keep(self) -> None:
        """Run until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Probe every key that is due, one after another: there is no hurry."""
        for candidate in self._pool.everything():
            seen = self._pool.book.statuses.get(candidate.key.id, HEALTHY)
            if self._due(candidate, seen) and await self._mine(candidate):
                await self.ask(candidate, seen)

    async def ask(self, candidate: Candidate, seen: KeyStatus) -> None:
        """Probe one key and note what comes of it."""
        failure = await probe(self._transport, candidate)
        now = self._clock()
        if failure is None:
            await self._pool.book.note(candidate, restored(seen, now=now))
        else:
            log.info("key …%s of %s is still out: %s", candidate.key.last4, candidate.upstream.name, failure.error.code)
            await self._pool.book.note(candidate, still(seen, failure.verdict, now=now, wait=self._every))

    def _due(self, candidate: Candidate, seen: KeyStatus) -> bool:
        now, key_id = self._clock(), candidate.key.id
        if self._pool.held(key_id) or now - self._asked.get(key_id, float("-inf")) < LOOK_SECONDS:
            return False
        if seen.state is KeyState.PARKED:
            return seen.until <= now
        return seen.state is KeyState.DISABLED and now - max(seen.changed, self._asked.get(key_id, 0.0)) >= self._every

    async def _mine(self, candidate: Candidate) -> bool:
        """Whether it is this worker that asks."""
        self._asked[candidate.key.id] = self._clock()
        try:
            return await self._states.claim(candidate.key.id, min(self._every, 60.0))
        except StoreUnavailableError:
            return True
