"""All commands of a worker over one connection to one Redis, written together where they come together.

A pool lends a connection to each call and pays for it with a system call for each write and each read, some 200 µs
of CPU in all. Here what is sent within one turn of the loop leaves as one write, and answers are given to whom they
belong in order: a quarter of the price. Redis is faster than one worker can ask, so nobody waits for the others.

On a bad day: a call that got no answer in its time fails with TimeoutError and the connection is given up, for
nobody knows what it still does; calls that are not yet due are sent again, once, on the next one. All our steps may be
repeated. hiredis packs and parses.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import hiredis
import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

# A busy loop finds time-outs before it reads what has long come: so it reads once more before it believes them.
GRACE_SECONDS = 0.02

Argument: TypeAlias = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Address:
    """Where one Redis is, and what it wants to hear first. A unix socket when *path* is given."""

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def greeting(self) -> list[tuple[Argument, ...]]:
        """The commands a connection begins with."""
        commands: list[tuple[Argument, ...]] = []
        if self.password is not None:
            account = () if self.username is None else (self.username,)
            commands.append(("AUTH", *account, self.password))
        if self.db:
            commands.append(("SELECT", self.db))
        return commands


class _Call(msgspec.Struct, eq=False):
    """One command under way. *due* is the loop's time at which nobody waits for it any more."""

    command: bytes
    answer: asyncio.Future[Any]
    due: float
    repeated: bool = False


# hiredis's stubs want what nobody can have, a tuple of one element; its code takes any.
_packed: Callable[[tuple[Argument, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment, unused-ignore]
_Lost: TypeAlias = Callable[["_Connection", Sequence[_Call], Exception], None]


class PipedClient:
    """Fills ``servers.Client`` for a single server; bounds its calls by itself."""

    def __init__(self, address: Address, *, timeout_seconds: float) -> None:
        self._address = address
        self._timeout = timeout_seconds
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: deque[_Call] = deque()

    async def execute_command(self, *args: Argument) -> Any:
        """The answer as redis-py hands it out; RedisError or TimeoutError."""
        answer = await self.send(args)
        return dict(zip(answer[::2], answer[1::2], strict=True)) if args[0] == "HGETALL" else answer

    def pipeline(self, transaction: bool = False) -> Pipeline:  # noqa: FBT001, FBT002 (redis-py's own signature)
        """Several commands, written together, each atomic by itself."""
        if transaction:
            raise ValueError("there are scripts for what must be atomic")
        return Pipeline(self)

    async def aclose(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
            self._fail_waiting(RedisConnectionError("the connection was closed"))
        if self._connection is not None:
            self._connection.drop(RedisConnectionError("the connection was closed"))

    def send(self, args: tuple[Argument, ...]) -> asyncio.Future[Any]:
        """One command; its answer as the server gave it, or RedisError or TimeoutError."""
        connection = self._connection
        loop = asyncio.get_running_loop() if connection is None else connection.loop
        call = _Call(_packed(args), loop.create_future(), loop.time() + self._timeout)
        if connection is None:
            self._send(call)
        else:
            connection.send(call)
        return call.answer

    def _send(self, call: _Call) -> None:
        if self._connection is not None:
            self._connection.send(call)
            return
        self._waiting.append(call)
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._opened()
        except (OSError, ResponseError, RedisConnectionError) as error:  # TimeoutError is an OSError
            self._fail_waiting(error)
            return
        finally:
            self._connecting = None
        self._connection = connection
        while self._waiting:
            connection.send(self._waiting.popleft())

    async def _opened(self) -> _Connection:
        loop, address = asyncio.get_running_loop(), self._address
        connection = _Connection(loop, self._lost)
        if address.path:
            await loop.create_unix_connection(lambda: connection, address.path)
        else:
            await loop.create_connection(lambda: connection, address.host, address.port)
        try:
            for command in address.greeting():
                call = _Call(_packed(command), loop.create_future(), loop.time() + self._timeout, repeated=True)
                connection.send(call)
                await call.answer
        except BaseException:
            connection.drop(RedisConnectionError("the greeting failed"))
            raise
        return connection

    def _lost(self, connection: _Connection, unanswered: Sequence[_Call], error: Exception) -> None:
        """*connection* is gone: calls that were not repeated yet are, the others fail."""
        if self._connection is connection:
            self._connection = None
        for call in unanswered:
            if call.answer.done():
                continue
            if call.repeated:
                call.answer.set_exception(RedisConnectionError(str(error)))
            else:
                call.repeated = True
                self._send(call)

    def _fail_waiting(self, error: Exception) -> None:
        while self._waiting:
            call = self._waiting.popleft()
            if not call.answer.done():
                call.answer.set_exception(RedisConnectionError(str(error)))


class Pipeline:
    """The part of redis-py's pipelines that we use."""

    def __init__(self, client: PipedClient) -> None:
        self._client = client
        self._commands: list[tuple[Argument, ...]] = []

    def execute_command(self, *args: Argument) -> None:
        self._commands.append(args)

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 (redis-py's own)
        """The answers, errors of single commands among them unless *raise_on_error*."""
        sent = [self._client.send(command) for command in self._commands]
        answers = await asyncio.gather(*sent, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and (raise_on_error or not isinstance(answer, ResponseError)):
                raise answer
        return answers


class _Connection(asyncio.Protocol):
    """One connection and the calls that wait for its answers, in their order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: _Lost) -> None:
        self.loop = loop
        self._lost = lost
        self._reader = hiredis.Reader(replyError=_error)
        self._transport: asyncio.WriteTransport | None = None
        self._out: list[bytes] = []
        self._calls: deque[_Call] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._doubtful: _Call | None = None

    def send(self, call: _Call) -> None:
        """Write the call's command at the end of this turn of the loop."""
        if not self._out:
            self.loop.call_soon(self._flush)
        self._out.append(call.command)
        self._calls.append(call)
        if self._watch is None:
            self._watch = self.loop.call_at(call.due, self._look)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None:
            self._transport.writelines(out)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        reader, calls = self._reader, self._calls
        try:
            reader.feed(data)
            # False is what the reader says for "no answer yet"; no answer of RESP2 is false.
            while (answer := reader.gets()) is not False:
                call = calls.popleft()
                try:
                    if isinstance(answer, Exception):
                        call.answer.set_exception(answer)
                    else:
                        call.answer.set_result(answer)
                except asyncio.InvalidStateError:
                    continue  # whoever waited for it has left
        except (hiredis.ProtocolError, IndexError):
            self.drop(RedisConnectionError("the answer is not Redis's"))

    def _look(self) -> None:
        """The oldest call should have been answered by now."""
        self._watch = None
        if not self._calls:
            return
        oldest, now = self._calls[0], self.loop.time()
        if now < oldest.due:
            self._watch = self.loop.call_at(oldest.due, self._look)
        elif self._doubtful is not oldest:
            self._doubtful = oldest
            self._watch = self.loop.call_later(GRACE_SECONDS, self._look)
        else:
            for call in self._calls:
                if call.due <= now and not call.answer.done():
                    call.answer.set_exception(TimeoutError("Redis did not answer in time"))
            self.drop(TimeoutError("Redis did not answer in time"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.drop(exc or RedisConnectionError("Redis closed the connection"))

    def drop(self, error: Exception) -> None:
        """Give the connection up."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        unanswered, self._calls = list(self._calls), deque()
        self._lost(self, unanswered, error)


def _error(message: str) -> ResponseError:
    return NoScriptError(message) if message.startswith("NOSCRIPT") else ResponseError(message)
