"""Calls to upstreams: lease a key, send, wait for the first event, and try another key while that is right.

Another key is tried only before the first event was relayed, never after a time limit that passed when the
request was already sent (it may be billed), at most *max_attempts* times and within the retry budget.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import msgspec

from streamproxy.dialects import dialect_of
from streamproxy.dialects.base import Call, Failure
from streamproxy.domain.ports import UpstreamReply, UpstreamTransport
from streamproxy.domain.retries import RetryBudget
from streamproxy.errors import NoKeyAvailableError, UpstreamError, UpstreamTimeoutError
from streamproxy.services.keys import KeyPool, Lease
from streamproxy.services.ownkey import OwnLease, own_error, own_lease
from streamproxy.services.prompt import Prompt
from streamproxy.services.relay import Identity, Relay, TakenIds
from streamproxy.wire.chat import ChatRequest, Transcript

# An error answer is a few hundred bytes; what is longer is a web page.
LONGEST_ERROR = 1 << 16
# A whole answer with embedded pictures or audio stays below this.
LONGEST_ANSWER = 16 << 20

T = TypeVar("T")
AnyLease: TypeAlias = Lease | OwnLease


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. *first_event* runs from the request to the first event, *idle* between two events."""

    first_event: float
    idle: float
    total: float


@dataclass(slots=True)
class Answer:
    """A stream whose first event has come: *frames* are the first for the client."""

    lease: AnyLease
    reply: UpstreamReply
    relay: Relay
    frames: bytes
    attempts: int = 1


@dataclass(slots=True)
class WholeAnswer:
    """An answer that was not streamed. *body* is the upstream's JSON as received."""

    lease: AnyLease
    body: bytes
    transcript: Transcript
    attempts: int = 1


class CallFailedError(Exception):
    """One attempt failed before anything was relayed."""

    def __init__(self, failure: Failure, *, same_key: bool = False) -> None:
        super().__init__(failure.error.message)
        self.failure = failure
        self.same_key = same_key


class Calls:
    """Opens answers."""

    def __init__(
        self,
        keys: KeyPool,
        transport: UpstreamTransport,
        *,
        timeouts: Timeouts,
        max_attempts: int,
        max_bytes: int,
    ) -> None:
        self.timeouts = timeouts
        self._keys = keys
        self._transport = transport
        self._max_attempts = max_attempts
        self._max_bytes = max_bytes
        self._budget = RetryBudget()
        self._taken_ids = TakenIds()

    def check_model(self, model: str) -> None:
        """NotFoundError when no upstream serves *model*."""
        self._keys.offered(model)

    async def stream(
        self,
        request: ChatRequest,
        prompt: Prompt,
        *,
        identity: Identity,
        trace: Mapping[str, str],
        own_key: str | None = None,
    ) -> Answer:
        """Open a stream and wait for its first event. With *own_key* only that provider key is used."""

        async def attempt(lease: AnyLease) -> Answer:
            async with asyncio.timeout(self.timeouts.first_event):
                reply = await self._open(lease, request, prompt, trace)
                relay = Relay(
                    identity,
                    include_usage=request.include_usage,
                    taken_ids=self._taken_ids,
                    max_bytes=self._max_bytes,
                    translator=dialect_of(lease.candidate.upstream).translator(),
                )
                try:
                    frames = await self._first_frames(lease, reply, relay)
                except BaseException:
                    reply.close()
                    raise
                return Answer(lease, reply, relay, frames)

        answer, attempts = await self._answered(request.model, attempt, own_key)
        answer.attempts = attempts
        return answer

    async def whole(
        self, request: ChatRequest, prompt: Prompt, *, trace: Mapping[str, str], own_key: str | None = None
    ) -> WholeAnswer:
        """Ask without streaming and wait for the whole answer. *own_key* as in ``stream``."""

        async def attempt(lease: AnyLease) -> WholeAnswer:
            async with asyncio.timeout(self.timeouts.total):
                reply = await self._open(lease, request, prompt, trace)
                try:
                    body = dialect_of(lease.candidate.upstream).completion(await _body(reply, LONGEST_ANSWER))
                    transcript = self._read_whole(lease, reply, body)
                    await reply.finish()
                except BaseException:
                    reply.close()
                    raise
                return WholeAnswer(lease, body, transcript)

        answer, attempts = await self._answered(request.model, attempt, own_key)
        answer.attempts = attempts
        return answer

    async def _answered(
        self, model: str, attempt: Callable[[AnyLease], Awaitable[T]], own_key: str | None
    ) -> tuple[T, int]:
        if own_key is None:
            return await self._with_failover(model, attempt)
        try:
            return await self._attempt(own_lease(self._keys.offered(model), own_key), attempt), 1
        except CallFailedError as failed:
            raise own_error(failed.failure.error) from failed

    async def _with_failover(self, model: str, attempt: Callable[[AnyLease], Awaitable[T]]) -> tuple[T, int]:
        offered = self._keys.offered(model)
        self._budget.earn()
        tried: set[str] = set()
        last: CallFailedError | None = None
        for number in range(1, self._max_attempts + 1):
            try:
                lease = self._keys.lease(offered, tried=tried)
            except NoKeyAvailableError:
                if last is None:
                    raise
                raise last.failure.error from last
            try:
                return await self._attempt(lease, attempt), number
            except CallFailedError as failed:
                last = failed
                if not failed.same_key or number > 1:
                    tried.add(lease.candidate.key.id)
                if not failed.failure.another_key or not self._budget.spend():
                    break
        assert last is not None  # noqa: S101  # max_attempts is at least 1
        raise last.failure.error from last

    async def _attempt(self, lease: AnyLease, attempt: Callable[[AnyLease], Awaitable[T]]) -> T:
        """One attempt; the lease goes back with the verdict when it fails."""
        try:
            return await attempt(lease)
        except TimeoutError as exc:
            error = UpstreamTimeoutError("the upstream took too long to begin", code="upstream_first_event_timeout")
            failed = CallFailedError(Failure(error))
            failed.__cause__ = exc
        except UpstreamError as exc:
            # The connection failed: before the head came, a fresh one may do (the pool's may have been stale).
            failed = CallFailedError(Failure(exc, another_key=True), same_key=exc.code == "upstream_disconnected")
            failed.__cause__ = exc
        except CallFailedError as exc:
            failed = exc
        except BaseException:
            await lease.give_back()
            raise
        await lease.give_back(failed.failure.verdict)
        raise failed

    async def _open(
        self, lease: AnyLease, request: ChatRequest, prompt: Prompt, trace: Mapping[str, str]
    ) -> UpstreamReply:
        """Send; return the answer when its status is 200, else CallFailedError with what it means."""
        candidate = lease.candidate
        dialect = dialect_of(candidate.upstream)
        call = dialect.chat(request, model=candidate.model, messages=prompt.messages, secret=candidate.key.secret)
        reply = await self._send(lease, call, trace)
        if reply.status == 200:
            return reply
        try:
            body = await _body(reply, LONGEST_ERROR)
        except UpstreamError:
            body = b""
        finally:
            reply.close()
        raise CallFailedError(_failure(lease, reply, body))

    async def _send(self, lease: AnyLease, call: Call, trace: Mapping[str, str]) -> UpstreamReply:
        url = lease.candidate.upstream.base_url + call.path
        return await self._transport.open(url, headers={**trace, **call.headers}, body=call.body)

    async def _first_frames(self, lease: AnyLease, reply: UpstreamReply, relay: Relay) -> bytes:
        """Read until there is something for the client."""
        seen = b""
        while True:
            batch = await reply.batch()
            frames = relay.feed(batch)
            if frames:
                return frames
            if len(seen) < LONGEST_ERROR:
                seen += batch
            if relay.failure or relay.ended or not batch:
                raise CallFailedError(self._no_event(lease, reply, relay, seen))

    @staticmethod
    def _no_event(lease: AnyLease, reply: UpstreamReply, relay: Relay, seen: bytes) -> Failure:
        """The stream is over before its first event: an error in a 200, or nothing at all."""
        if relay.failed_event:
            return _failure(lease, reply, relay.failed_event)
        if relay.failure:
            return Failure(relay.failure, another_key=True)
        if seen.lstrip().startswith(b"{"):
            return _failure(lease, reply, seen)
        return Failure(UpstreamError("the upstream sent no event", code="upstream_empty"), another_key=True)

    @staticmethod
    def _read_whole(lease: AnyLease, reply: UpstreamReply, body: bytes) -> Transcript:
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
            raise CallFailedError(_failure(lease, reply, body))
        return Transcript.of_completion(body)


def _failure(lease: AnyLease, reply: UpstreamReply, body: bytes) -> Failure:
    """What an answer that is no success means. Providers quote the key they refuse: it is taken out first."""
    candidate = lease.candidate
    secret = candidate.key.secret.encode()
    clean = body.replace(secret, b"***") if secret else body
    return dialect_of(candidate.upstream).failure(reply.status, reply.headers, clean)


async def _body(reply: UpstreamReply, longest: int) -> bytes:
    """The whole body; UpstreamError ``upstream_answer_too_large`` beyond *longest* bytes."""
    parts: list[bytes] = []
    size = 0
    while batch := await reply.batch():
        size += len(batch)
        if size > longest:
            raise UpstreamError("the upstream's answer is too large", code="upstream_answer_too_large")
        parts.append(batch)
    return b"".join(parts)
