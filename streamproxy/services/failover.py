"""One request's attempts: lease a key, call, and try another key while that is right.

Another key is tried only before the first event was relayed, never after a time limit that passed when the
request was already sent (it may be billed) unless the settings allow it, and within the retry budget.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeAlias, TypeVar

import msgspec

from streamproxy.dialects.base import Failure
from streamproxy.domain.keypool import Candidate, KeyState
from streamproxy.domain.retries import RetryBudget
from streamproxy.domain.tracing import UNTRACED, Attributes, Span, provider
from streamproxy.errors import (
    NoKeyAvailableError,
    StreamProxyError,
    UpstreamError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
)
from streamproxy.services.keys import KeyPool, Lease
from streamproxy.services.ownkey import OwnLease

T = TypeVar("T")
AnyLease: TypeAlias = Lease | OwnLease

# Nothing was sent: no connection came about.
_NOT_SENT = frozenset({"upstream_unreachable", "upstream_connect_timeout", "upstream_address_refused"})
# These keys are out for longer than anybody waits: the pool is at fault, not the upstream.
_LASTING = frozenset({KeyState.DISABLED, KeyState.PARKED})


class Attempts(msgspec.Struct, eq=False):
    """How many calls one request has cost so far, and who was asked last.

    *tokens* counts what a call may use; it is asked only for keys that have a token window. *trace* is the span
    that the calls belong to, *operation* what it calls them; *span* is that of the call under way or the last.
    """

    tokens: Callable[[], Awaitable[int]] | None = None
    trace: Span = UNTRACED
    operation: str = "chat"
    number: int = 0
    candidate: Candidate | None = None
    span: Span = UNTRACED

    def begin(self, candidate: Candidate) -> None:
        self.number += 1
        self.candidate = candidate
        if not self.trace.recorded:
            self.span = self.trace
            return
        upstream = candidate.upstream
        attributes: Attributes = {
            "gen_ai.operation.name": self.operation,
            "gen_ai.provider.name": provider(upstream.dialect),
            "gen_ai.request.model": candidate.model,
            "streamproxy.upstream": upstream.name,
            "streamproxy.attempt": self.number,
        }
        self.span = self.trace.child(f"{self.operation} {candidate.model}", attributes)


class CallFailedError(Exception):
    """One attempt failed before anything was relayed."""

    def __init__(self, failure: Failure, *, same_key: bool = False) -> None:
        super().__init__(failure.error.message)
        self.failure = failure
        self.same_key = same_key


class Failover:
    """Makes at most *max_attempts* a request; with *retry_timeouts* also after a time limit: it may be billed twice.

    *clock* gives seconds, for what comes back to the retry budget.
    """

    def __init__(self, keys: KeyPool, *, max_attempts: int, retry_timeouts: bool, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._max_attempts = max_attempts
        self._retry_timeouts = retry_timeouts
        self._budget = RetryBudget(clock)

    async def run(
        self, offered: Sequence[Candidate], attempt: Callable[[AnyLease], Awaitable[T]], attempts: Attempts
    ) -> T:
        """The first good outcome of *attempt*, else the error of the last one."""
        self._budget.earn()
        lease = await self._keys.lease(offered, tokens=attempts.tokens)
        attempts.begin(lease.candidate)
        try:
            outcome = await attempt(lease)
        except BaseException as error:  # noqa: BLE001  # raised again where it says nothing of the attempt
            failed = await self._failed(error, lease, attempts)
        else:
            lease.accepted()
            return outcome
        return await self._again(offered, attempt, attempts, lease=lease, failed=failed)

    async def _again(
        self,
        offered: Sequence[Candidate],
        attempt: Callable[[AnyLease], Awaitable[T]],
        attempts: Attempts,
        *,
        lease: Lease,
        failed: CallFailedError,
    ) -> T:
        """What to do when the first attempt, with *lease*, *failed*."""
        tried: set[str] = set()
        avoid: set[str] = set()
        while True:
            if not failed.same_key or attempts.number > 1:
                tried.add(lease.candidate.key.id)
                if failed.failure.verdict is None:
                    # Nothing was wrong with the key: the same may well happen to its neighbours.
                    avoid.add(lease.candidate.upstream.name)
            if not self._may_go_on(failed, attempts):
                raise self._why(offered, tried, failed) from failed
            lease = await self._lease(offered, tried, avoid, attempts, failed)
            try:
                return await self.once(lease, attempt, attempts)
            except CallFailedError as again:
                failed = again

    async def _lease(
        self,
        offered: Sequence[Candidate],
        tried: Collection[str],
        avoid: Collection[str],
        attempts: Attempts,
        last: CallFailedError,
    ) -> Lease:
        try:
            return await self._keys.lease(offered, tried=tried, avoid=avoid, tokens=attempts.tokens)
        except NoKeyAvailableError as none_left:
            if _is_out(last):
                raise none_left from last
            raise last.failure.error from last

    def _why(self, offered: Sequence[Candidate], tried: Collection[str], failed: CallFailedError) -> StreamProxyError:
        """What to answer when *failed* was the last attempt: that no key is left, where its key was the last."""
        none_left = self._keys.none_left(offered, tried) if _is_out(failed) else None
        return none_left or failed.failure.error

    def _may_go_on(self, failed: CallFailedError, attempts: Attempts) -> bool:
        return failed.failure.another_key and attempts.number < self._max_attempts and self._budget.spend()

    async def once(self, lease: AnyLease, attempt: Callable[[AnyLease], Awaitable[T]], attempts: Attempts) -> T:
        """One attempt; the lease stays with a good outcome and goes back with the verdict when it fails."""
        attempts.begin(lease.candidate)
        try:
            outcome = await attempt(lease)
        except BaseException as error:  # noqa: BLE001  # raised again
            failed = await self._failed(error, lease, attempts)
        else:
            lease.accepted()
            return outcome
        raise failed

    async def _failed(self, error: BaseException, lease: AnyLease, attempts: Attempts) -> CallFailedError:
        """How the attempt failed that raised *error*, after which the lease has gone back.

        What says nothing of the attempt (it was cancelled) is raised again.
        """
        if isinstance(error, UpstreamError):
            failed = self._unanswered(error)
        elif isinstance(error, CallFailedError):
            failed = error
        else:
            attempts.span.end({}, error="cancelled")
            await lease.give_back()
            raise error
        attempts.span.end({}, error=failed.failure.error.code)
        await give_back(lease, failed.failure)
        return failed

    def _unanswered(self, error: UpstreamError) -> CallFailedError:
        """The connection failed or a time limit passed; where the request had been sent by then, it may be billed."""
        late = isinstance(error, UpstreamTimeoutError) and error.code not in _NOT_SENT
        failure = Failure(error, another_key=self._retry_timeouts or not late)
        # Before the head came, a fresh connection may do: the pool's may have been stale.
        failed = CallFailedError(failure, same_key=error.code == "upstream_disconnected")
        failed.__cause__ = error
        return failed


def _is_out(failed: CallFailedError) -> bool:
    verdict = failed.failure.verdict
    return verdict is not None and verdict.state in _LASTING


async def give_back(lease: AnyLease, failure: Failure, *, tokens: int = 0) -> None:
    """Return a lease whose call failed by *failure*."""
    if isinstance(failure.error, UpstreamRejectedError):
        # The request was at fault: the key was good enough to find that out.
        lease.accepted()
        await lease.give_back(tokens=tokens)
        return
    error = failure.error.code
    await lease.give_back(failure.verdict, error=error, tokens=tokens, sent=error not in _NOT_SENT)
