"""The one way to Redis: scripts in, answers out, every failure as StoreUnavailableError.

A call takes at most *timeout_seconds*, waiting for a connection included. After three failures in a row, or
one call during which Redis answered nobody, nobody waits at all for a tenth of a second, later for up to a second; then
one call probes (``breaker``). So a request that makes several calls waits for one of them. Whether a failed call took
effect is unknown, so every script is idempotent by the id it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic
from typing import Any, TypeAlias, TypeVar

from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from streamproxy.errors import StoreUnavailableError
from streamproxy.stores.redis.breaker import Breaker
from streamproxy.stores.redis.patience import Patience
from streamproxy.stores.redis.scripts import Script
from streamproxy.stores.redis.servers import Client, Server, open_server
from streamproxy.uninterrupted import uninterrupted

log = logging.getLogger(__name__)

Argument: TypeAlias = str | bytes | int | float
Call: TypeAlias = tuple[Script, Sequence[str], Sequence[Argument]]
A = TypeVar("A")
T = TypeVar("T")

# What redis-py raises when it is of no use; a cluster without a node that answers is, by its types, no RedisError.
# TimeoutError is an OSError.
FAILURES = (RedisError, RedisClusterException, OSError)
# redis-py's pools refuse the 101st connection at once; a burst of requests waits here instead.
MAX_CONNECTIONS = 64


class RedisLink:
    """A worker's connection to Redis. ``available`` is false while the breaker keeps calls away.

    *ordered*: steps are taken in the order they were sent, also those that nobody waits for any more.
    *watch* is told when a call ``failed`` and when the breaker ``opened`` or ``closed``.
    """

    def __init__(
        self,
        server: Server,
        *,
        timeout_seconds: float,
        breaker: Breaker,
        watch: Callable[[str], None] = lambda _event: None,
    ) -> None:
        self._server = server
        self._piped = server.piped
        self.ordered = server.piped is not None
        self._watch = watch
        # In memory there is no server to wait for: a busy loop is no reason to give up.
        self._timeout = timeout_seconds if server.remote else None
        self._breaker = breaker
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._answers = 0

    @property
    def available(self) -> bool:
        return self._breaker.closed

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run one script and return its answer as Redis gives it (bytes, ints, lists)."""
        if self._piped is None or self._breaker.failures > 0:
            return await self._guarded(_run, (script, keys, args))
        # A good day on our own connection, which bounds its calls: as ``_guarded`` does, without what is for bad days.
        answers = self._answers
        try:
            answer = await self._piped.send(("EVALSHA", script.sha, len(keys), *keys, *args))
        except NoScriptError:
            return await self._guarded(_run, (script, keys, args))
        except FAILURES as error:
            raise self._failed(error, answers) from error
        self._answers += 1
        if self._breaker.failures:
            self._recovered()
        return answer

    async def run_and_read(self, call: Call, reading: tuple[Argument, ...]) -> tuple[Any, Any]:
        """Run one script and, in the same round trip, the plain command *reading* behind it; both answers.

        They are two steps: somebody else's may come in between.
        """
        script, keys, args = call
        if self._piped is None or self._breaker.failures > 0:
            return await self._guarded(_run_and_read, (call, reading))
        # As ``run``; the second answer comes behind the first.
        answers = self._answers
        first = self._piped.send(("EVALSHA", script.sha, len(keys), *keys, *args))
        try:
            read = await self._piped.send(reading)
            answer = first.result()
        except NoScriptError:
            return await self._guarded(_run_and_read, (call, reading))
        except FAILURES as error:
            raise self._failed(error, answers) from error
        finally:
            # Whatever became of it is known, or nobody's any more.
            first.cancel() or first.cancelled() or first.exception()
        self._answers += 1
        if self._breaker.failures:
            self._recovered()
        return answer, read

    def through(self, step: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """*step*, which the caller may have to take back: who is cancelled goes on when it is over.

        A step still on its way could be taken after the one that takes it back.
        """
        return step if self.ordered else uninterrupted(step)

    async def run_many(self, calls: Sequence[Call]) -> list[Any]:
        """Run several scripts in one round trip (one a node in a cluster), each atomic by itself."""
        return await self._guarded(_run_many, calls) if calls else []

    async def command(self, *args: Argument) -> Any:
        """Run one plain command."""
        return await self._guarded(_command, args)

    async def ping(self) -> None:
        await self.command("PING")

    async def close(self) -> None:
        # A server that is away cannot say goodbye.
        with contextlib.suppress(*FAILURES):
            await self._server.close()

    async def _guarded(self, step: Callable[[Client, A], Awaitable[T]], what: A) -> T:
        if not self._breaker.admit():
            raise StoreUnavailableError("The shared store is away.", retry_after=1)
        answers = self._answers
        try:
            if self._piped is not None:
                answer = await step(self._server.client, what)
            else:
                async with Patience(self._timeout), self._places:
                    answer = await step(self._server.client, what)
        except FAILURES as error:
            raise self._failed(error, answers) from error
        except BaseException:
            self._breaker.abandoned()
            raise
        self._answers += 1
        if self._breaker.failures:
            self._recovered()
        return answer

    def _failed(self, error: Exception, answers: int) -> StoreUnavailableError:
        """What to raise for a call that failed, and before which there had been so many *answers*."""
        was_available = self.available
        self._breaker.failed(silent=isinstance(error, TimeoutError) and answers == self._answers)
        self._watch("failed")
        if was_available and not self.available:
            self._watch("opened")
            # Only the kind of error: the text of some quotes the refused command, AUTH with its password included.
            kind = type(error).__name__
            log.warning("Redis is away (%s); the settings say how requests go on without it", kind)
        return StoreUnavailableError("The shared store does not answer.", retry_after=1)

    def _recovered(self) -> None:
        was_available = self.available
        self._breaker.succeeded()
        if not was_available:
            self._watch("closed")
            log.info("Redis is back")


def _evalsha(call: Call) -> tuple[Argument, ...]:
    script, keys, args = call
    return ("EVALSHA", script.sha, len(keys), *keys, *args)


async def _command(client: Client, args: Sequence[Argument]) -> Any:
    return await client.execute_command(*args)


async def _run(client: Client, call: Call) -> Any:
    try:
        return await client.execute_command(*_evalsha(call))
    except NoScriptError:
        return await _load_and_run(client, call)


async def _load_and_run(client: Client, call: Call) -> Any:
    # EVAL runs the script and leaves it loaded, on the very node that holds the keys.
    script, keys, args = call
    return await client.execute_command("EVAL", script.source, len(keys), *keys, *args)


async def _run_and_read(client: Client, what: tuple[Call, Sequence[Argument]]) -> tuple[Any, Any]:
    call, reading = what
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command(*_evalsha(call))
    pipeline.execute_command(*reading)
    answer, read = await pipeline.execute(raise_on_error=False)
    if isinstance(answer, NoScriptError):
        # What was read was read before it.
        return await _load_and_run(client, call), await client.execute_command(*reading)
    for found in (answer, read):
        if isinstance(found, BaseException):
            raise found
    return answer, read


async def _run_many(client: Client, calls: Sequence[Call]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for call in calls:
        # Not pipeline.evalsha(): cluster pipelines block that method, and let the command itself pass.
        pipeline.execute_command(*_evalsha(call))
    answers = await pipeline.execute(raise_on_error=False)
    for index, answer in enumerate(answers):
        if isinstance(answer, NoScriptError):
            answers[index] = await _load_and_run(client, calls[index])
        elif isinstance(answer, BaseException):
            raise answer
    return list(answers)


async def open_redis(
    url: str,
    *,
    timeout_seconds: float = 0.25,
    watch: Callable[[str], None] = lambda _event: None,
) -> RedisLink:
    """Connect to the Redis that *url* names; ``servers`` lists the kinds.

    A Redis that is away now is no error: the link finds it when it is back. ConfigurationError for a
    URL that names none.
    """
    server = open_server(url, timeout_seconds=timeout_seconds)
    link = RedisLink(server, timeout_seconds=timeout_seconds, breaker=Breaker(clock=monotonic), watch=watch)
    with contextlib.suppress(StoreUnavailableError):
        await link.ping()
    return link
