"""aiohttp's connections without aiohttp's requests: the one place that touches its inner parts.

A ``ClientSession`` makes some thirty objects a call and runs a coroutine for every batch of bytes, which costs more
than all the rest of a relayed stream. What is hard in it (names, addresses, TLS, the pool) is its connector's; that
is used here as it is: a connection is borrowed from the pool, spoken on by ``direct``, and given back.

Inner parts, seen in aiohttp 3.14 (``tests/upstreams/test_borrowed.py`` holds them to the installed version):
``BaseConnector.connect(request, traces, timeout)``, ``Connection.transport`` and ``Connection.protocol``, whose
``should_close`` stays false while it has seen no byte. Where one is missing ``available`` is false, and every call
goes through a session.
"""

from __future__ import annotations

import asyncio
import inspect

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import BaseConnector, Connection
from yarl import URL


def available() -> bool:
    """Whether the installed aiohttp has the parts that are used here."""
    names = [*inspect.signature(BaseConnector.connect).parameters]
    parts = (Connection, "transport"), (Connection, "protocol"), (Connection, "release"), (Connection, "close")
    held = all(hasattr(owner, name) for owner, name in (*parts, (ResponseHandler, "should_close")))
    return held and names == ["self", "req", "traces", "timeout"]


class Loan:
    """A connection for one call. Give it back exactly once."""

    __slots__ = ("_connection", "_handler", "_transport")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        handler, transport = connection.protocol, connection.transport
        if handler is None or transport is None:
            connection.close()
            raise aiohttp.ServerDisconnectedError
        self._handler: ResponseHandler = handler
        self._transport = transport

    def speak(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """From now on what arrives is *protocol*'s."""
        self._transport.set_protocol(protocol)
        return self._transport

    def give_back(self) -> None:
        """The next call may have it."""
        self._transport.set_protocol(self._handler)
        self._connection.release()

    def drop(self) -> None:
        """Close it."""
        self._transport.set_protocol(self._handler)
        self._connection.close()

    def lost(self, error: Exception | None) -> None:
        """The other side has closed it."""
        self._handler.connection_lost(error)
        self._connection.close()


class Lender:
    """Borrows connections to one URL. *timeout* bounds connecting."""

    def __init__(self, session: aiohttp.ClientSession, url: URL, timeout: aiohttp.ClientTimeout) -> None:
        connector = session.connector
        if connector is None:
            raise RuntimeError("the transport is used after it was left")
        self._connector = connector
        self._timeout = timeout
        # Never sent: it tells the connector where to, and with which TLS.
        self._request = aiohttp.ClientRequest("GET", url, loop=asyncio.get_running_loop(), ssl=True)

    async def borrow(self) -> Loan:
        try:
            return Loan(await self._connector.connect(self._request, [], self._timeout))
        except TimeoutError as exc:  # as aiohttp's session says it
            raise aiohttp.ConnectionTimeoutError("no connection in time") from exc
