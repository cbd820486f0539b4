"""Straight to the client's socket: the one place that goes past Tornado's way of writing.

``RequestHandler.write`` and ``flush`` make half a dozen objects and a future for each batch of events. In the middle
of a chunked body all they do is to put its length before it: that is done here, and sent at once. What the socket
does not take goes to the IOStream, which sends it when it can.

Inner part, seen in Tornado 6.6 (``tests/handlers/test_clientsocket.py`` holds it to the installed version):
``HTTP1Connection._chunking_output``, true between the head and the end of a chunked body. Where it is missing, and
for clients of HTTP/1.0, ``client_socket`` is None, and events are written and flushed by the handler.
"""

from __future__ import annotations

import asyncio

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError


class ClientSocket:
    """The connection of an answer whose head is out."""

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream

    def send(self, data: bytes) -> asyncio.Future[None] | None:
        """Send one chunk; a future where the socket did not take all of it, done when it has."""
        stream = self._stream
        if stream.closed():
            return None
        chunk = b"%x\r\n%b\r\n" % (len(data), data)
        if stream.writing():
            return self._rest(chunk)
        try:
            sent = stream.socket.send(chunk)
        except BlockingIOError:
            sent = 0
        except OSError:
            # Runs the handler's on_connection_close.
            stream.close()
            return None
        return None if sent == len(chunk) else self._rest(chunk[sent:])

    def _rest(self, data: bytes) -> asyncio.Future[None] | None:
        try:
            return self._stream.write(data)
        except StreamClosedError:
            return None


def client_socket(connection: object) -> ClientSocket | None:
    """For a connection in the middle of a chunked answer, None where that is not known."""
    if isinstance(connection, HTTP1Connection) and getattr(connection, "_chunking_output", None) is True:
        return ClientSocket(connection.stream)
    return None
