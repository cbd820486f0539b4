"""The answer to one request: what Tornado's handlers call their connection.

Fills ``tornado.httputil.HTTPConnection`` and what ``RequestHandler`` uses besides, and ``client.Client``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Protocol

from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPOutputError, RequestStartLine, ResponseStartLine
from tornado.iostream import StreamClosedError

from streamproxy.connections.bounds import MAX_BODY_SIZE
from streamproxy.connections.fields import values_of
from streamproxy.connections.head import Head
from streamproxy.connections.origin import Origin, Peer

_BODILESS = frozenset({204, 304})


class Line(Protocol):
    """What an answer needs of the connection that it is written to."""

    peer: Peer
    loop: asyncio.AbstractEventLoop
    closed: bool
    # While the client takes less than is written; done when it has taken all, or is gone.
    behind: asyncio.Future[None] | None
    # Done already, for whoever waits when nobody is behind.
    done: asyncio.Future[None]

    @property
    def taken(self) -> int:
        """Bytes that the socket has taken."""

    def write(self, data: bytes) -> None:
        """Send, or keep until the socket takes it."""

    def write_chunk(self, data: bytes) -> asyncio.Future[None] | None:
        """The same with *data* as a chunk of a body. A future where the client is behind."""

    def writing(self) -> bool:
        """Whether something waits that the socket has not taken."""

    def finished(self, answer: Answer) -> None:
        """*answer* is complete."""

    def leave(self) -> None:
        """Close when all has been sent; whoever answers is told soon."""

    def abort(self) -> None:
        """Close at once; whoever answers is told soon."""


class Answer(HTTPConnection):
    """Written once, from head to end; whatever is written after that goes nowhere."""

    # What every event needs; the base class has a dictionary for the rest.
    __slots__ = ("_chunked", "_connection", "finished")

    # What is left of an announced length; None where none was announced.
    _left: int | None = None
    max_body_size = MAX_BODY_SIZE
    close_callback: Callable[[], None] | None = None
    # Its end is seen when it comes, for the socket is read all the time.
    watch = None

    def __init__(self, connection: Line, head: Head) -> None:
        self._connection = connection
        self.loop = connection.loop
        self.head = head
        self._chunked = False
        self.lasting = head.lasting
        self.finished = False

    @cached_property
    def context(self) -> Origin:
        """Where the request comes from."""
        return Origin(self._connection.peer, self.head.headers)

    # -- tornado.httputil.HTTPConnection ----------------------------------------------------------------

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> asyncio.Future[None]:
        if not isinstance(start_line, ResponseStartLine):
            raise TypeError("an answer begins with a status")
        closed = self.finished or self._connection.closed
        behind = self.open(start_line.code, start_line.reason, headers, chunk)
        return _closed() if closed else behind or self._connection.done

    def open(
        self, code: int, reason: str, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> asyncio.Future[None] | None:
        """``write_headers`` without a start line; a future where the client is behind.

        ValueError for *headers* that would be more than they say.
        """
        head, fields = self.head, values_of(headers)
        latest = head.version == "HTTP/1.1"
        bodiless = head.method == "HEAD" or code in _BODILESS
        announced = "Content-Length" in fields
        if bodiless:
            self._left = None if code == 204 else 0
        elif announced:
            self._left = int(",".join(fields["Content-Length"]))
        elif latest:
            self._chunked = True
            fields["Transfer-Encoding"] = ["chunked"]
        if self.lasting is not latest:
            # In the words of the client's version.
            fields["Connection"] = ["close" if latest else "Keep-Alive"]
        elif latest and "Connection" in fields:
            self.lasting = ",".join(fields["Connection"]).lower() != "close"
        lines = [f"{name}: {value}\r\n" for name, values in fields.items() for value in values]
        breaks = len(lines) + 2
        text = f"HTTP/1.1 {code} {reason}\r\n{''.join(lines)}\r\n"
        if text.count("\n") != breaks or text.count("\r") != breaks:
            raise ValueError(f"a line break in a header field: {text!r}")
        data = text.encode("latin-1")
        if chunk:
            data += self._framed(chunk)
        connection = self._connection
        if not self.finished:
            connection.write(data)
        return connection.behind

    def stream(self, lines: Iterable[str], chunk: bytes) -> asyncio.Future[None] | None:
        """``open`` with 200 for a body of any length and its first *chunk*, which is not empty.

        Only for a request of HTTP/1.1 that is no HEAD. *lines* are the head's fields, each with the end of its line:
        all are sound, and none says how long the body or the connection is.
        """
        self._chunked = True
        end = "" if self.lasting else "Connection: close\r\n"
        head = f"HTTP/1.1 200 OK\r\n{''.join(lines)}Transfer-Encoding: chunked\r\n{end}\r\n".encode("latin-1")
        connection = self._connection
        if not self.finished:
            connection.write(b"%b%x\r\n%b\r\n" % (head, len(chunk), chunk))
        return connection.behind

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        return self._written(self._framed(chunk))

    def finish(self) -> None:
        if self.finished:
            return
        if self._left and not self._connection.closed:
            self._connection.abort()
            raise HTTPOutputError(f"Tried to write {self._left} bytes less than Content-Length")
        if self._chunked:
            self._connection.write(b"0\r\n\r\n")
        self.finished = True
        self._connection.finished(self)

    def _framed(self, chunk: bytes) -> bytes:
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                self._connection.abort()
                raise HTTPOutputError("Tried to write more data than Content-Length")
        # An empty chunk would be the end of the body.
        return b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked and chunk else chunk

    def _written(self, data: bytes) -> asyncio.Future[None]:
        connection = self._connection
        if self.finished or connection.closed:
            return _closed()
        connection.write(data)
        return connection.behind or connection.done

    # -- what RequestHandler uses besides ---------------------------------------------------------------

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        self.close_callback = callback

    # -- client.Client ------------------------------------------------------------------------------------

    @property
    def taken(self) -> int:
        return self._connection.taken

    def writing(self) -> bool:
        return not self.finished and self._connection.writing()

    def send(self, data: bytes) -> asyncio.Future[None] | None:
        if self.finished:
            return None
        connection = self._connection
        if self._chunked:
            return connection.write_chunk(data)
        connection.write(data)
        return connection.behind

    def shortest(self) -> Callable[[bytes], asyncio.Future[None] | None] | None:
        return self._connection.write_chunk if self._chunked and not self.finished else None

    def close(self) -> None:
        if not self.finished:
            self._connection.leave()

    def abort(self) -> None:
        if not self.finished:
            self._connection.abort()

    def set_max_body_size(self, max_body_size: int) -> None:
        self.max_body_size = max_body_size


def _closed() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(StreamClosedError())
    future.exception()  # whoever does not wait has not forgotten it
    return future
