"""Idempotency keys: who repeats a request is told of the stream that it began, and pays once.

A key is bound for a short time while its stream begins and for a day once it has begun, so that a worker that dies in
between leaves a key behind which is soon free again.
https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from streamproxy.domain.ports import StreamLog
from streamproxy.errors import BadRequestError, ConflictError, GoneError, NotFoundError, StoreUnavailableError
from streamproxy.services.sources import Source, Sources

log = logging.getLogger(__name__)

LONGEST_KEY = 255
BEGIN_SECONDS = 4.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Claim:
    """What a key stands for: *first* when this very request is to begin the stream."""

    stream_id: str
    first: bool


class Claims:
    """The keys of all users, each user's apart from everybody else's."""

    def __init__(self, *, store: StreamLog, sources: Sources) -> None:
        self._store = store
        self._sources = sources

    @asynccontextmanager
    async def claimed(self, user_id: str, key: str | None, *, stream_id: str, body: bytes) -> AsyncIterator[Claim]:
        """Hold *key* while its stream begins inside; without one every request is the first.

        BadRequestError when it is too long or has been used for another body. What fails inside frees the key.
        """
        if key is None:
            yield Claim(stream_id, first=True)
            return
        if not 0 < len(key) <= LONGEST_KEY:
            raise BadRequestError(f"Idempotency-Key must be 1 to {LONGEST_KEY} characters.", param="Idempotency-Key")
        digest = hashlib.sha256(body).hexdigest()
        bound, bound_digest = await self._store.claim(user_id, key, stream_id, digest)
        if bound_digest != digest:
            raise BadRequestError(
                "This Idempotency-Key was used for another request.",
                code="idempotency_key_reused",
                param="Idempotency-Key",
            )
        claim = Claim(bound, first=bound == stream_id)
        if not claim.first:
            yield claim
            return
        try:
            yield claim
        except BaseException:
            # What went wrong is told, and not that Redis is away too: the key is soon free by itself.
            with contextlib.suppress(StoreUnavailableError):
                await self._store.release(user_id, key)
            raise
        try:
            await self._store.keep_claim(user_id, key)
        except StoreUnavailableError:
            # The stream runs: it is told, though a late repetition will not find it.
            log.warning("an Idempotency-Key is kept for seconds only: Redis is away")

    async def begun(self, stream_id: str, user_id: str) -> Source:
        """The stream that another request with the same key is just beginning. ConflictError while it is not there."""
        deadline = asyncio.get_running_loop().time() + BEGIN_SECONDS
        while True:
            try:
                return await self._sources.find(stream_id, user_id)
            except GoneError:
                raise
            except NotFoundError:
                if asyncio.get_running_loop().time() > deadline:
                    raise ConflictError("That request is still beginning; ask again.", retry_after=1) from None
            await asyncio.sleep(POLL_SECONDS)
