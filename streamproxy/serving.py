"""The server for clients: one of ours, or Tornado's with the settings a proxy of long answers needs.

Tornado waits an hour for an idle connection and for ever for a body by default, knows no public way to close idle
connections, and leaves dead peers to the kernel's fifteen minutes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.netutil import add_accept_handler
from tornado.web import Application

from streamproxy.connections import bounds
from streamproxy.connections.crowd import Seat
from streamproxy.connections.occupancy import Occupancy
from streamproxy.connections.server import DirectServer
from streamproxy.connections.sockets import EXHAUSTED, PAUSE_SECONDS, prepare

log = logging.getLogger(__name__)


class Server(Protocol):
    """What serves an application to clients."""

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on *sockets*, which are this server's from now on."""

    def stop(self) -> None:
        """Accept no more."""

    @property
    def busy(self) -> int:
        """Connections with a request under way."""

    async def drain(self, *, grace: float, hurry: asyncio.Event) -> bool:
        """Stop accepting, let running requests end for *grace* seconds or until *hurry*; True when all did."""

    async def wait_until_idle(self) -> None:
        """Return when no request is under way any more."""

    async def close_all_connections(self) -> None:
        """Cut whoever is still there."""


def make_server(
    application: Application, *, trusted_proxies: Sequence[str], shortcuts: bool, seat: Seat | None = None
) -> Server:
    """With *shortcuts* the one whose requests cost a fraction of those of Tornado's; only that one knows a *seat*."""
    if shortcuts:
        return DirectServer(application, trusted_proxies=trusted_proxies, seat=seat)
    return ProxyServer(application, trusted_proxies=trusted_proxies)


class ProxyServer(HTTPServer):
    """An HTTPServer that knows which of its connections are idle."""

    def initialize(self, application: Application, *, trusted_proxies: Sequence[str]) -> None:  # type: ignore[override]
        self._occupancy: Occupancy[HTTP1ServerConnection] = Occupancy(lambda connection: connection.stream.close())
        super().initialize(
            application,
            xheaders=True,
            trusted_downstream=list(trusted_proxies),
            idle_connection_timeout=bounds.IDLE_SECONDS,
            body_timeout=bounds.BODY_SECONDS,
            max_header_size=bounds.MAX_HEADER_SIZE,
            max_buffer_size=bounds.MAX_BODY_SIZE,
        )

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on copies of *sockets* that know what to do when there is no file descriptor left."""
        super().add_sockets([_Listener(sock, self._pause) for sock in sockets])

    def _pause(self, listener: _Listener) -> None:
        """Take nobody for a second: the queue stays ready, and would be asked again and again for nothing.

        Who waits there is taken by another worker, or by this one when somebody has left.
        """
        fd = listener.fileno()
        self._handlers.pop(fd)()
        log.warning("there is no file descriptor left: nobody is let in for %g s; raise LimitNOFILE", PAUSE_SECONDS)
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._go_on, fd, listener)

    def _go_on(self, fd: int, listener: _Listener) -> None:
        if not self._stopped:
            self._handlers[fd] = add_accept_handler(listener, self._handle_connection)

    def stop(self) -> None:
        """Accept no more, also where accepting pauses."""
        for fd in self._sockets.keys() - self._handlers.keys():
            self._handlers[fd] = lambda: None
        super().stop()

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        prepare(stream.socket)
        super().handle_stream(stream, address)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        # Tornado calls this when it begins to wait for a request, which is when the last one is over.
        if isinstance(server_conn, HTTP1ServerConnection):
            # At the end of each request Tornado switches Nagle's algorithm on again, and the next stream of the
            # connection would have its events held back until the one before is acknowledged.
            server_conn.stream.set_nodelay(True)
            self._rest(server_conn)
            return _BusyFromHeaders(
                super().start_request(server_conn, request_conn), lambda: self._occupancy.begin(server_conn)
            )
        return super().start_request(server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        if isinstance(server_conn, HTTP1ServerConnection):
            self._occupancy.forget(server_conn)
        super().on_close(server_conn)

    def _rest(self, connection: HTTP1ServerConnection) -> None:
        self._occupancy.rest(connection, asyncio.get_running_loop().time())

    @property
    def busy(self) -> int:
        """Connections with a request under way."""
        return self._occupancy.busy

    async def drain(self, *, grace: float, hurry: asyncio.Event) -> bool:
        """Stop accepting, let running requests end for *grace* seconds or until *hurry*; True when all did."""
        self.stop()
        return await self._occupancy.drain(grace=grace, hurry=hurry)

    async def wait_until_idle(self) -> None:
        """Return when no request is under way any more."""
        await self._occupancy.wait_until_idle()


class _Listener(socket.socket):
    """A listening socket that calls *exhausted* instead of raising what Tornado would log at every turn of the loop."""

    def __init__(self, listening: socket.socket, exhausted: Callable[[_Listener], None]) -> None:
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self._exhausted = exhausted

    def accept(self) -> tuple[socket.socket, Any]:
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self._exhausted(self)
            raise BlockingIOError from error


class _BusyFromHeaders(HTTPMessageDelegate):
    """Tells when a request's headers have come; hands everything on."""

    def __init__(self, inner: HTTPMessageDelegate, begun: Callable[[], None]) -> None:
        self._inner = inner
        self._begun = begun
        self.data_received = inner.data_received  # type: ignore[method-assign]
        self.finish = inner.finish  # type: ignore[method-assign]
        self.on_connection_close = inner.on_connection_close  # type: ignore[method-assign]

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._begun()
        return self._inner.headers_received(start_line, headers)
