"""A handler whose request came on a connection of ours: made and ended without what none of our handlers uses.

Tornado's constructor makes names for templates, formats the date and checks fields that never change, and ``finish``
looks whether a body that is out needs a length. On Tornado's own server a handler is as Tornado makes it.

Inner part, seen in Tornado 6.6 (``tests/connections/test_handler.py`` holds it to the installed version): the names of
what ``RequestHandler.__init__`` sets, which is not called; ``_execute``, and the future of the body that it waits for.
Where there are others every handler is as Tornado makes it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Coroutine, Mapping
from functools import lru_cache
from typing import Any

from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest, RequestStartLine, format_timestamp
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler, stream_request_body

from streamproxy.connections.answer import Answer
from streamproxy.connections.fields import fields_of

# What RequestHandler.set_header lets pass.
_HTML = "text/html; charset=UTF-8"
_SAFE = re.compile(r"[\x09\x20-\x7e\x80-\xff]*")


@stream_request_body
class LeanHandler(RequestHandler):
    """See the module. ``data_received`` must not have to be waited for."""

    _initialized = False
    # Where the answer goes, on a connection of ours.
    answer: Answer | None = None
    # What runs the handler, where its request was there as a whole.
    task: asyncio.Task[None] | None = None

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        connection = request.connection
        if not isinstance(connection, Answer) or not _KNOWN:
            super().__init__(application, request, **kwargs)
            self._initialized = True
            self.set_default_headers()
            return
        self.application = application
        self.request = request
        self.answer = connection
        self._lean()
        connection.close_callback = self.on_connection_close
        self.initialize(**kwargs)
        self._initialized = True
        self._headers = fields_of({"Content-Type": _HTML, "Date": _date(int(time.time())), **self.own_fields()})

    def _lean(self) -> None:
        """What the constructor sets, whatever the request; ``_headers`` are the handler's, when it is initialized."""
        self._headers_written = self._finished = False
        self._auto_finish = True
        self._prepared_future = None
        self.ui = None  # type: ignore[assignment]  # as Tornado leaves it at the end
        self._write_buffer = []
        self._status_code = 200
        self._reason = "OK"

    def set_default_headers(self) -> None:
        # Tornado calls this from its constructor, before initialize, and again after every clear().
        self.clear_header("Server")
        if self._initialized:
            self.set_headers(self.own_fields())

    def own_fields(self) -> Mapping[str, str]:
        """Fields of every answer of this handler. Nothing in them is a stranger's: they are not looked at."""
        return {}

    def run(
        self, arguments: list[bytes], named: dict[str, bytes], *, body: asyncio.Future[None]
    ) -> Coroutine[Any, Any, None]:
        """Answers the request, whose body is handed over already; *body* is done."""
        self.request._body_future = body
        return self._execute([], *arguments, **named)

    def on_connection_close(self) -> None:
        if self.task is None:
            # Ends Tornado's wait for the rest of a body, which would keep the request in memory for ever.
            super().on_connection_close()
        else:
            # Where the method has not begun it never does.
            self.request._body_future = _left()

    def set_headers(self, headers: Mapping[str, str]) -> None:
        """``set_header`` for each of *headers*; ValueError for what must not be in a field's value."""
        if _SAFE.fullmatch("".join(headers.values())) is None:
            raise ValueError(f"Unsafe header value in {headers!r}")
        self._headers.update(headers)

    def open(self, chunk: bytes) -> asyncio.Future[None] | None:
        """Write the head, and a first *chunk* of a body of any length; a future while the client is behind."""
        answer = self.answer
        if answer is None or self._headers_written or self._write_buffer or hasattr(self, "_new_cookie"):
            self.write(chunk)
            flushed = self.flush()
            return None if flushed.done() else flushed
        self._headers_written = True
        answer.open(self._status_code, self._reason, self._headers, chunk)
        return answer.behind

    def end(self) -> None:
        """``finish`` for whoever has nothing more to write."""
        answer = self.answer
        if answer is None or self._finished or self._write_buffer or not self._headers_written:
            self.finish()
            return
        # The connection outlives the request: it must not keep its handler in memory.
        answer.close_callback = None
        answer.finish()
        self._finished = True
        self.on_finish()


def _left() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(StreamClosedError())
    future.exception()  # whoever has begun does not ask
    return future


@lru_cache(maxsize=4)
def _date(now: int) -> str:
    return format_timestamp(now)


class _Nowhere(HTTPConnection):
    """A connection for what is made only to be looked at."""

    def set_close_callback(self, callback: object) -> None:
        """There is nothing to close."""


def _known() -> bool:
    """Whether Tornado's own constructor sets nothing that ours does not."""
    own = LeanHandler.__new__(LeanHandler)
    own._lean()
    request = HTTPServerRequest(
        start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=HTTPHeaders({"Host": "x"}), connection=_Nowhere()
    )
    theirs = RequestHandler(Application(), request)
    return vars(theirs).keys() <= {*vars(own), "application", "request", "_headers"}


_KNOWN = _known()
