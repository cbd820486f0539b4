"""Calls to upstreams: send, and wait for the first event or the whole answer. ``failover`` chooses the key, and
another one while that is right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeVar

import msgspec

from streamproxy.dialects import dialect_of
from streamproxy.dialects.base import Call, Failure
from streamproxy.domain.keypool import Candidate
from streamproxy.domain.ports import UpstreamReply, UpstreamTransport
from streamproxy.domain.tracing import Span
from streamproxy.errors import StreamProxyError, UpstreamError, UpstreamRejectedError, UpstreamTimeoutError
from streamproxy.services.completion import Identity, TakenIds
from streamproxy.services.deadlines import AtMost, Timeouts
from streamproxy.services.failover import AnyLease, Attempts, CallFailedError, Failover, give_back
from streamproxy.services.keys import KeyPool
from streamproxy.services.ownkey import own_error, own_lease
from streamproxy.services.prompt import Prompt
from streamproxy.services.relay import Relay
from streamproxy.wire.chat import ChatRequest, Transcript
from streamproxy.wire.plain import AnyRequest, PlainRequest, count_answers, count_choices

# An error answer is a few hundred bytes; what is longer is a web page.
LONGEST_ERROR = 1 << 16
# A whole answer with embedded audio stays below this.
LONGEST_ANSWER = 16 << 20
# Ten pictures of 1536 x 1024 pixels, as PNG in base64, are some 40 MB.
LONGEST_PICTURES = 64 << 20

T = TypeVar("T")


class Answer(msgspec.Struct, eq=False):
    """A stream whose first event has come: *frames* are the first for the client. *limit* was that of its beginning."""

    lease: AnyLease
    reply: UpstreamReply
    relay: Relay
    frames: bytes
    limit: AtMost

    @property
    def error(self) -> StreamProxyError | None:
        """What broke the stream off, for the client. What the upstream says of the caller's request is passed on."""
        if self.relay.failed_event:
            said = _failure(self.lease, self.reply, self.relay.failed_event).error
            if isinstance(said, UpstreamRejectedError):
                return said
        return self.relay.failure

    @property
    def broken_off(self) -> Failure | None:
        """What broke the stream off, if it was the upstream."""
        relay = self.relay
        if relay.failed_event:
            return _failure(self.lease, self.reply, relay.failed_event)
        if relay.failure is None or relay.failure.code == "output_too_large":
            return None
        return Failure(relay.failure)


class WholeAnswer(msgspec.Struct, eq=False):
    """An answer that was not streamed. *body* is the upstream's JSON as received, *images* counts its pictures."""

    lease: AnyLease
    body: bytes
    transcript: Transcript
    images: int = 0
    # What broke it off: nothing, since it is whole.
    broken_off: ClassVar[None] = None


class Calls:
    """Opens answers."""

    def __init__(
        self,
        keys: KeyPool,
        transport: UpstreamTransport,
        *,
        timeouts: Timeouts,
        failover: Failover,
        max_bytes: int,
    ) -> None:
        self.timeouts = timeouts
        self.max_bytes = max_bytes
        # NotFoundError when no upstream serves a model.
        self.check_model: Callable[[str], object] = keys.offered
        self._keys = keys
        self._transport = transport
        self._failover = failover
        self._taken_ids = TakenIds()

    def stream(
        self,
        request: ChatRequest,
        prompt: Prompt,
        *,
        identity: Identity,
        attempts: Attempts,
        own_key: str | None = None,
        task: asyncio.Task[object] | None = None,
    ) -> Awaitable[Answer]:
        """Open a stream and wait for its first event, noting *attempts*. With *own_key* only that key is used.

        *task* is the one that waits, where it is known.
        """

        async def attempt(lease: AnyLease) -> Answer:
            candidate = lease.candidate
            dialect = dialect_of(candidate.upstream)
            call = dialect.chat(request, model=candidate.model, messages=prompt.messages, secret=candidate.key.secret)
            async with self.timeouts.until_first_event(task) as limit:
                reply = await self._sent(lease, call, attempts.span)
                if reply.status != 200:
                    raise await _refusal(lease, reply)
                relay = Relay(
                    identity,
                    include_usage=request.include_usage,
                    taken_ids=self._taken_ids,
                    translator=dialect.translator(),
                )
                try:
                    frames = await self._first_frames(lease, reply, relay)
                except BaseException:
                    reply.close()
                    raise
                limit.left = True
                return Answer(lease, reply, relay, frames, limit)

        return self._answered(request.model, attempt, attempts, own_key)

    def whole(
        self,
        request: AnyRequest,
        prompt: Prompt,
        *,
        attempts: Attempts,
        own_key: str | None = None,
    ) -> Awaitable[WholeAnswer]:
        """Ask without streaming and wait for the whole answer. *attempts* and *own_key* as in ``stream``."""

        async def attempt(lease: AnyLease) -> WholeAnswer:
            async with self.timeouts.until_the_end() as limit:
                reply = await self._sent(lease, _call(lease.candidate, request, prompt), attempts.span)
                if reply.status != 200:
                    raise await _refusal(lease, reply)
                try:
                    answer = await self._read_whole(lease, reply, request, limit)
                    await reply.finish()
                except BaseException:
                    reply.close()
                    raise
                return answer

        return self._answered(request.model, attempt, attempts, own_key)

    def _answered(
        self, model: str, attempt: Callable[[AnyLease], Awaitable[T]], attempts: Attempts, own_key: str | None
    ) -> Awaitable[T]:
        offered = self._keys.offered(model)
        if own_key is None:
            return self._failover.run(offered, attempt, attempts)
        return self._by_own_key(own_lease(offered, own_key), attempt, attempts)

    async def _by_own_key(self, lease: AnyLease, attempt: Callable[[AnyLease], Awaitable[T]], attempts: Attempts) -> T:
        """By the caller's own key: no other one stands in for it."""
        try:
            return await self._failover.once(lease, attempt, attempts)
        except CallFailedError as failed:
            raise own_error(failed.failure.error) from failed

    @staticmethod
    def over(answer: Answer | WholeAnswer, *, tokens: int, silent: bool) -> Awaitable[None]:
        """The answer has ended, having used *tokens*: its key goes back with what the ending showed about it.

        *silent*: we ended it, because the upstream said nothing for too long.
        """
        failure = answer.broken_off
        if silent:
            failure = Failure(UpstreamTimeoutError("the upstream fell silent", code="upstream_idle_timeout"))
        if failure is None:
            return answer.lease.give_back(tokens=tokens)
        return give_back(answer.lease, failure, tokens=tokens)

    def _sent(self, lease: AnyLease, call: Call, span: Span) -> Awaitable[UpstreamReply]:
        """The answer to *call*, as soon as its head is here."""
        url = lease.candidate.upstream.base_url + call.path
        headers = {**span.headers, **call.headers} if span.headers else call.headers
        return self._transport.open(url, headers=headers, body=call.body)

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

    async def _read_whole(
        self, lease: AnyLease, reply: UpstreamReply, request: AnyRequest, limit: AtMost
    ) -> WholeAnswer:
        """The answer, when it is one: otherwise CallFailedError with what it means."""

        def heard() -> None:
            limit.heard(self.timeouts.idle)

        if isinstance(request, PlainRequest):
            body = await _body(reply, LONGEST_PICTURES if request.pictures else LONGEST_ANSWER, heard)
            count = count_answers(body, request.answers)
        else:
            body = dialect_of(lease.candidate.upstream).completion(await _body(reply, LONGEST_ANSWER, heard))
            # Whoever reads it later has settled already.
            count = count_choices(body)
        if count is None:
            raise CallFailedError(_failure(lease, reply, body))
        images = count if isinstance(request, PlainRequest) and request.pictures else 0
        return WholeAnswer(lease, body, Transcript.of_completion(body), images=images)


def _call(candidate: Candidate, request: AnyRequest, prompt: Prompt) -> Call:
    dialect, secret = dialect_of(candidate.upstream), candidate.key.secret
    if isinstance(request, PlainRequest):
        return dialect.plain(request, model=candidate.model, secret=secret)
    return dialect.chat(request, model=candidate.model, messages=prompt.messages, secret=secret)


async def _refusal(lease: AnyLease, reply: UpstreamReply) -> CallFailedError:
    """What a status other than 200 means; *reply* is closed."""
    try:
        body = await _body(reply, LONGEST_ERROR)
    except UpstreamError:
        body = b""
    finally:
        reply.close()
    return CallFailedError(_failure(lease, reply, body))


def _failure(lease: AnyLease, reply: UpstreamReply, body: bytes) -> Failure:
    """What an answer that is no success means. Providers quote the key they refuse: it is taken out first."""
    candidate = lease.candidate
    secret = candidate.key.secret.encode()
    clean = body.replace(secret, b"***") if secret else body
    return dialect_of(candidate.upstream).failure(reply.status, reply.headers, clean)


async def _body(reply: UpstreamReply, longest: int, heard: Callable[[], None] = lambda: None) -> bytes:
    """The whole body; UpstreamError ``upstream_answer_too_large`` beyond *longest* bytes.

    *heard* is called with each batch once the body has begun. DeepSeek sends blank lines while its model is busy:
    they are no beginning.
    """
    parts: list[bytes] = []
    size, begun = 0, False
    while batch := await reply.batch():
        size += len(batch)
        if size > longest:
            raise UpstreamError("the upstream's answer is too large", code="upstream_answer_too_large")
        parts.append(batch)
        begun = begun or not batch.isspace()
        if begun:
            heard()
    return parts[0] if len(parts) == 1 else b"".join(parts)
