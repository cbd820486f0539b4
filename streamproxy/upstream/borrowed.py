"""aiohttp's connections without aiohttp's requests: the one place that touches its inner parts.

A ``ClientSession`` makes some thirty objects a call and runs a coroutine for every batch of bytes, which costs more
than all the rest of a relayed stream. What is hard in it (names, addresses, TLS) is its connector's; that is used
here as it is: a connection is borrowed from the connector and spoken on by ``direct``. Between two calls it stays
here, because the way through the connector's own pool and back is a tenth of a call; for the connector it is in use
all the time, so that it is closed with the session.

Inner parts, seen in aiohttp 3.14 (``tests/upstreams/test_borrowed.py`` holds them to the installed version):
``BaseConnector.connect(request, traces, timeout)``, ``Connection.transport`` and ``Connection.protocol``. Where one is
missing ``available`` is false, and every call goes through a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import BaseConnector, Connection
from yarl import URL

# How long a connection waits for its next call. Providers' load balancers close idle ones after 60 s and more.
KEPT_SECONDS = 30.0


def available() -> bool:
    """Whether the installed aiohttp has the parts that are used here."""
    names = [*inspect.signature(BaseConnector.connect).parameters]
    parts = (
        (Connection, "transport"),
        (Connection, "protocol"),
        (Connection, "close"),
        (ResponseHandler, "connection_lost"),
    )
    held = all(hasattr(owner, name) for owner, name in parts)
    return held and names == ["self", "req", "traces", "timeout"]


class Loan(asyncio.Protocol):
    """A connection, lent for one call after another. Each gives it back or drops it, exactly once.

    While nobody has it, it is the connection's protocol itself: whatever arrives then is no answer to anything.
    """

    __slots__ = ("_connection", "_handler", "_lender", "loop", "since", "transport")

    def __init__(self, connection: Connection, lender: Lender) -> None:
        self._connection = connection
        handler, transport = connection.protocol, connection.transport
        if handler is None or transport is None:
            connection.close()
            raise aiohttp.ServerDisconnectedError
        self._handler: ResponseHandler = handler
        self._lender = lender
        self.loop = lender.loop
        self.transport: asyncio.Transport = transport
        # When it was given back, by the loop's clock.
        self.since = 0.0

    def give_back(self) -> None:
        """The next call may have it."""
        self.transport.set_protocol(self)
        self._lender.keep(self)

    def drop(self) -> None:
        """Close it."""
        self.transport.set_protocol(self._handler)
        self._connection.close()

    def lost(self, error: Exception | None) -> None:
        """The other side has closed it."""
        self._handler.connection_lost(error)
        self._connection.close()

    # -- what the transport calls between two calls ---------------------------------------------------

    def data_received(self, data: bytes) -> None:  # noqa: ARG002  # the protocol's name
        self._lender.forget(self)
        self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lender.forget(self)
        self.lost(exc)


class Lender:
    """Lends connections to one origin. *timeout* bounds connecting."""

    def __init__(self, session: aiohttp.ClientSession, url: URL, timeout: aiohttp.ClientTimeout) -> None:
        connector = session.connector
        if connector is None:
            raise RuntimeError("the transport is used after it was left")
        self._connector = connector
        self._timeout = timeout
        self.loop = asyncio.get_running_loop()
        # Never sent: it tells the connector where to, and with which TLS.
        self._request = aiohttp.ClientRequest("GET", url, loop=self.loop, ssl=True)
        # In the order in which they were given back.
        self._kept: list[Loan] = []
        self._sweep: asyncio.TimerHandle | None = None

    def kept(self) -> Loan | None:
        """The connection that was given back last, None where there is none."""
        while self._kept:
            loan = self._kept.pop()
            if loan.transport.is_closing():
                continue  # its end is about to be told
            if self.loop.time() - loan.since <= KEPT_SECONDS:
                return loan
            loan.drop()
        return None

    async def borrow(self) -> Loan:
        """The connection that was given back last, or a new one."""
        kept = self.kept()
        if kept is not None:
            return kept
        try:
            return Loan(await self._connector.connect(self._request, [], self._timeout), self)
        except TimeoutError as exc:  # as aiohttp's session says it
            raise aiohttp.ConnectionTimeoutError("no connection in time") from exc

    def keep(self, loan: Loan) -> None:
        """Nobody has *loan* for now."""
        loan.since = self.loop.time()
        self._kept.append(loan)
        if self._sweep is None:
            self._sweep = self.loop.call_later(KEPT_SECONDS, self._drop_old)

    def forget(self, loan: Loan) -> None:
        """*loan* is of no use any more."""
        with contextlib.suppress(ValueError):  # it was about to be lent, and found closing
            self._kept.remove(loan)

    def close(self) -> None:
        """To be called before the session is closed, which closes what is kept here and waits until that is done."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _drop_old(self) -> None:
        self._sweep = None
        now = self.loop.time()
        while self._kept and now - self._kept[0].since >= KEPT_SECONDS:
            self._kept.pop(0).drop()
        if self._kept:
            self._sweep = self.loop.call_at(self._kept[0].since + KEPT_SECONDS, self._drop_old)
