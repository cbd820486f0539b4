"""A client on a connection of Tornado's own server.

``RequestHandler.write`` and ``flush`` make half a dozen objects and a future for each batch of events. In the middle
of a chunked body all they do is to put its length before it: that is done here, and sent at once. What the socket
does not take goes to the IOStream, which sends it when it can.

Inner part, seen in Tornado 6.6 (``tests/connections/test_iostreams.py`` holds it to the installed version):
``HTTP1Connection._chunking_output``, true between the head and the end of a chunked body. Where it is missing, for
clients of HTTP/1.0 and without shortcuts, events are written and flushed by the handler.
"""

from __future__ import annotations

import asyncio

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler

from streamproxy.connections.sockets import is_gone


class IOStreamClient:
    """Fills ``client.Client``."""

    def __init__(self, handler: RequestHandler, connection: HTTP1Connection, *, shortcut: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self._handler = handler
        self._connection = connection
        self._stream: IOStream = connection.stream
        self._shortcut = shortcut
        self._sent = 0

    @property
    def taken(self) -> int:
        # Nothing is sent while something waits: what was sent before the last was taken.
        return self._sent

    def writing(self) -> bool:
        return self._stream.writing()

    def send(self, data: bytes) -> asyncio.Future[None] | None:
        self._sent += 1
        stream = self._stream
        if stream.closed():
            return None
        if not self._shortcut or getattr(self._connection, "_chunking_output", None) is not True:
            self._handler.write(data)
            flushed = self._handler.flush()
            return flushed if stream.writing() else None
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

    def shortest(self) -> None:
        """There is none: what the socket does not take is the IOStream's."""

    def _rest(self, data: bytes) -> asyncio.Future[None] | None:
        try:
            return self._stream.write(data)
        except StreamClosedError:
            return None

    def close(self) -> None:
        self._stream.close()

    def abort(self) -> None:
        self._stream.close()

    def set_max_body_size(self, max_body_size: int) -> None:
        self._connection.set_max_body_size(max_body_size)

    def watch(self, seconds: float) -> SocketPulse:
        return SocketPulse(self._stream, seconds)


class SocketPulse:
    """Asks the kernel whether a client left.

    Tornado listens for the end of a connection only while nothing unread is in its buffer: one pipelined byte
    behind the request, and a silent handler waits for nobody.
    """

    def __init__(self, stream: IOStream, seconds: float) -> None:
        self._stream = stream
        self._seconds = seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._beat)

    def stop(self) -> None:
        self._timer.cancel()

    def _beat(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._beat)
        if is_gone(self._stream.socket):
            # Runs the handler's on_connection_close.
            self._stream.close()
