"""Tornado's HTTP server with the settings a proxy of long answers needs, and a way to stop that cuts nobody.

Tornado waits an hour for an idle connection and for ever for a body by default, knows no public way to close idle
connections, and leaves dead peers to the kernel's fifteen minutes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

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

log = logging.getLogger(__name__)

# Above nginx's upstream keepalive_timeout (5 s here), or nginx would reuse a connection that is just closing.
IDLE_SECONDS = 75
BODY_SECONDS = 30
# While draining: just above that keepalive_timeout, so that it is nginx who closes what it does not use.
LINGER_SECONDS = 6.0
LOOK_SECONDS = 0.1
MAX_HEADER_SIZE = 16384
# Unacknowledged for so long, a peer is gone: no FIN comes from a cut cable.
USER_TIMEOUT_MS = 20_000
# What accept(2) says when this process or this machine can have no more; asyncio's own servers pause as long then.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
PAUSE_SECONDS = 1.0
# Bounds what the kernel keeps for a slow reader.
SEND_BUFFER = 128 * 1024


class ProxyServer(HTTPServer):
    """An HTTPServer that knows which of its connections are idle."""

    def initialize(self, application: Application, *, trusted_proxies: Sequence[str]) -> None:  # type: ignore[override]
        self._busy: set[HTTP1ServerConnection] = set()
        self._idle_since: dict[HTTP1ServerConnection, float] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        super().initialize(
            application,
            xheaders=True,
            trusted_downstream=list(trusted_proxies),
            idle_connection_timeout=IDLE_SECONDS,
            body_timeout=BODY_SECONDS,
            max_header_size=MAX_HEADER_SIZE,
            max_buffer_size=8 << 20,
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
        stream.set_nodelay(True)
        if stream.socket.family in (socket.AF_INET, socket.AF_INET6):
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        super().handle_stream(stream, address)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        # Tornado calls this when it begins to wait for a request, which is when the last one is over.
        if isinstance(server_conn, HTTP1ServerConnection):
            # At the end of each request Tornado switches Nagle's algorithm on again, and the next stream of the
            # connection would have its events held back until the one before is acknowledged.
            server_conn.stream.set_nodelay(True)
            self._set_idle(server_conn)
            return _BusyFromHeaders(
                super().start_request(server_conn, request_conn), lambda: self._set_busy(server_conn)
            )
        return super().start_request(server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        if isinstance(server_conn, HTTP1ServerConnection):
            self._set_idle(server_conn)
            del self._idle_since[server_conn]
        super().on_close(server_conn)

    def _set_busy(self, connection: HTTP1ServerConnection) -> None:
        self._busy.add(connection)
        self._idle.clear()

    def _set_idle(self, connection: HTTP1ServerConnection) -> None:
        self._busy.discard(connection)
        self._idle_since[connection] = asyncio.get_running_loop().time()
        if not self._busy:
            self._idle.set()

    @property
    def busy(self) -> int:
        """Connections with a request under way."""
        return len(self._busy)

    def _close_idle(self) -> bool:
        """Close the connections that have been idle for LINGER_SECONDS; whether others are left."""
        now = asyncio.get_running_loop().time()
        for connection, since in [*self._idle_since.items()]:
            if connection not in self._busy and now - since >= LINGER_SECONDS:
                connection.stream.close()
        return bool(self._connections)

    async def drain(self, *, grace: float, hurry: asyncio.Event) -> bool:
        """Stop accepting, let running requests end for *grace* seconds or until *hurry*; True when all did.

        The second of waiting is for connections just accepted, whose request is on its way: without it a rolling
        restart cut one to five clients. Kept connections are answered once more and then closed, or closed when they
        have been idle for longer than nginx keeps them: nobody sends a question on one that is just being closed.
        """
        self.stop()
        clock = asyncio.get_running_loop().time
        deadline = clock() + grace
        waiting = asyncio.create_task(hurry.wait())
        await asyncio.wait({waiting}, timeout=min(1.0, grace))
        while self._close_idle() and clock() < deadline and not hurry.is_set():
            await asyncio.wait({waiting}, timeout=min(LOOK_SECONDS, deadline - clock()))
        waiting.cancel()
        return not self._busy

    async def wait_until_idle(self) -> None:
        """Return when no request is under way any more."""
        await self._idle.wait()


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
