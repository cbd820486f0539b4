"""A call on a borrowed connection: bytes out, a head back, then batches, handed on within the loop's own callback.

llhttp (``httptools``) parses. Between the socket and whoever ``pour`` was told there is no task and no queue. Who
takes batches one by one with ``batch`` gets a bounded buffer: beyond it the upstream has to wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property
from typing import Any, Self

import httptools
from multidict import CIMultiDict

from streamproxy.errors import UpstreamError
from streamproxy.upstream.borrowed import Loan
from streamproxy.upstream.failures import disconnected, foreign_encoding, malformed
from streamproxy.upstream.head import Head
from streamproxy.upstream.inflating import ENCODINGS_WE_READ, Inflated

# Bytes of a head: gateways send content-security policies of 30 kB and a cookie for each of their hosts.
LONGEST_HEAD = 1 << 18
# Bytes that wait for a slow ``batch``; then the upstream is no longer read.
MOST_WAITING = 1 << 17
# How long a connection waits for the end of a body whose last event has come.
LINGER_SECONDS = 0.1


class DirectReply(asyncio.Protocol):
    """Fills ``domain.ports.UpstreamReply``. ``ask`` first."""

    # What every event needs, and a dictionary for what is found out once.
    __slots__ = (
        *("__dict__", "_ended", "_error", "_head", "_inflated", "_lingering", "_loan", "_loop", "_paused", "_size"),
        *("_take", "_transport", "_waiter", "status"),
    )

    def __init__(self, loan: Loan) -> None:
        self._loan: Loan | None = loan
        self._head = Head()
        self._inflated: Inflated | None = None
        self.status = 0
        self._size = 0
        self._error: UpstreamError | None = None
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._paused = False
        self._lingering: asyncio.TimerHandle | None = None
        self._loop = loan.loop
        self._transport = loan.transport
        self._transport.set_protocol(self)

    async def ask(self, request: bytes) -> Self:
        """This reply, when *request* is sent and the head is here; UpstreamError when none comes."""
        head = self._head
        try:
            self._transport.write(request)
            while not head.complete:
                if self._error is not None:
                    raise self._error
                await self._news()
            if head.encoding and head.encoding != b"identity":
                self._inflated = Inflated(_known(head.encoding))
        except BaseException:
            self.close()
            raise
        self.status = head.status
        return self

    @cached_property
    def headers(self) -> Mapping[str, str]:
        fields = self._head.fields.items()
        return CIMultiDict((name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in fields)

    # -- reading ------------------------------------------------------------------------------------

    def batch(self) -> Coroutine[Any, Any, bytes]:
        return self._raw() if self._inflated is None else self._inflated.batch(self._raw)

    async def _raw(self) -> bytes:
        while True:
            if data := self._taken():
                if self._paused:
                    self.resume()
                return data
            if self._over:
                return b""
            await self._news()

    async def pour(self, take: Callable[[bytes], bool]) -> None:
        if self._inflated is not None:
            while (data := await self.batch()) and take(data):
                await self._unpaused()
            return
        self.resume()
        data = self._taken()
        if data and not take(data):
            return
        self._take = take
        try:
            while not self._over and self._wanted():
                await self._news()
        finally:
            self._take = None

    def _wanted(self) -> bool:
        """Whether whoever takes batches wants more of them."""
        return self._take is not None

    def pause(self) -> None:
        if not self._paused and self._loan is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._loan is not None and not self._transport.is_closing():
                self._transport.resume_reading()
            self._tell()

    async def _unpaused(self) -> None:
        while self._paused and not self._ended:
            await self._news()

    @property
    def _over(self) -> bool:
        """Whether nothing more will come; UpstreamError when it broke off."""
        self._raise_error()
        return self._ended

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _taken(self) -> bytes:
        parts = self._head.body
        data = b"".join(parts)
        del parts[:]
        self._size = 0
        return data

    def _news(self) -> asyncio.Future[None]:
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _tell(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- what the transport calls ---------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        head = self._head
        try:
            head.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(malformed())
            return
        body, take = head.body, self._take
        if body and take is not None:
            # Nearly always it is one piece: two steps less than to join it.
            if not take(body.pop() if len(body) == 1 else self._taken()):
                self._take = None
                if not head.over:
                    self.pause()
                self._tell()
        else:
            self._size += len(data)
            if not head.complete and self._size > LONGEST_HEAD:
                self._fail(malformed())
                return
            if self._size > MOST_WAITING and head.complete:
                self.pause()
            if not head.over:
                self._tell()
        if head.over:
            self._ended = True
            if self._lingering is not None:
                self._lingering.cancel()
                self._give_back()
            self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        loan, self._loan = self._loan, None
        if self._lingering is not None:
            self._lingering.cancel()
        if loan is None:
            return
        loan.lost(exc)
        self._head.let_go()
        if exc is not None or not self._until_closed:
            self._error = self._error or (None if self._ended else disconnected())
        self._ended = True
        self._tell()

    @property
    def _until_closed(self) -> bool:
        """Whether the body ends where the connection does: nothing says how long it is."""
        head = self._head
        return (
            head.complete and not head.field(b"content-length") and b"chunked" not in head.field(b"transfer-encoding")
        )

    def _fail(self, error: UpstreamError) -> None:
        self._error = self._error or error
        self.close()

    # -- ending -------------------------------------------------------------------------------------

    def close(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        loan, self._loan = self._loan, None
        if loan is not None:
            if not self._ended:
                self._error = self._error or disconnected()
            self._ended = True
            loan.drop()
            self._head.let_go()
        self._tell()

    async def finish(self) -> None:
        if self._loan is None or self._error is not None:
            self.close()
        elif self._head.over:
            self._give_back()
        elif self._until_closed:
            self.close()
        else:
            # The last chunk of the body mostly comes with the last event. Where it did not, nobody waits for it, and
            # the connection serves the next call when it is here.
            self._lingering = self._loop.call_later(LINGER_SECONDS, self.close)
            self.resume()

    def _give_back(self) -> None:
        loan, self._loan = self._loan, None
        if loan is None:
            return
        if self._head.lasting and not self._head.begun_again and not self._paused:
            loan.give_back()
        else:
            loan.drop()
        self._head.let_go()


def _known(encoding: bytes) -> str:
    """*encoding* by its name; UpstreamError when it is none that we read."""
    name = encoding.decode("latin-1")
    if name not in ENCODINGS_WE_READ:
        raise foreign_encoding()
    return name
