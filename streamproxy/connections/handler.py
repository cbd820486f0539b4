"""A handler whose request came on a connection of ours: made and ended without what none of our handlers uses.

Tornado's constructor makes names for templates, formats the date and checks fields that never change, and ``finish``
looks whether a body that is out needs a length. On Tornado's own server a handler is as Tornado makes it.

Inner part, seen in Tornado 6.6 (``tests/connections/test_handler.py`` holds it to the installed version): the names of
what ``RequestHandler.__init__`` sets, which is not called, ``_handle_request_exception``, and when a request came.
Where there are others every handler is as Tornado makes it, and runs as Tornado runs it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPServerRequest, RequestStartLine, format_timestamp
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from streamproxy.connections.answer import Answer
from streamproxy.connections.fields import SAFE, fields_of, lines_of
from streamproxy.connections.letterhead import Letterhead

log = logging.getLogger(__name__)

_HTML = "text/html; charset=UTF-8"
# What answers each method. No handler of ours has SUPPORTED_METHODS of its own.
_NAMES = {method: method.lower() for method in RequestHandler.SUPPORTED_METHODS}


class _Headers:
    """A handler's, made when somebody asks: the head of a stream is written without.

    ``functools.cached_property`` takes a lock for that (until Python 3.12), which costs as much again.
    """

    def __get__(self, handler: LeanHandler, _: object) -> HTTPHeaders:
        date = _date(int(handler.request._start_time))
        made = fields_of({"Content-Type": _HTML, "Date": date, **handler.always, **handler.own_fields()})
        handler.__dict__["_headers"] = made
        return made


@stream_request_body
class LeanHandler(RequestHandler):
    """See the module. ``prepare`` and all methods for requests are to be awaited, ``data_received`` is not."""

    # Whether it is: not with a Tornado that has other parts.
    lean: ClassVar[bool]
    # Where the answer goes, on a connection of ours.
    answer: Answer | None = None
    # What runs the handler, where its request was there as a whole before.
    task: asyncio.Task[None] | None = None
    # Nobody reads the answer.
    client_left = False
    # Fields of every answer.
    always: ClassVar[Mapping[str, str]] = {}

    _headers = _Headers()
    _initialized = False
    # What Tornado's constructor and _execute set, whatever the request.
    _transforms = ()  # type: ignore[assignment]
    _headers_written = False
    _finished = False
    _auto_finish = True
    _prepared_future = None
    _status_code = 200
    _reason = "OK"
    ui = None  # type: ignore[assignment]  # as Tornado leaves it at the end

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        connection = request.connection
        if type(connection) is not Answer or not self.lean:
            super().__init__(application, request, **kwargs)
            self._initialized = True
            self.set_default_headers()
            return
        self.application = application
        self.request = request
        self.answer = connection
        self._write_buffer = []
        connection.close_callback = self.on_connection_close
        self.initialize(**kwargs)
        self._initialized = True

    def set_default_headers(self) -> None:
        # Tornado calls this from its constructor, before initialize, and again after every clear().
        self.clear_header("Server")
        if self._initialized:
            self.set_headers({**self.always, **self.own_fields()})

    def own_fields(self) -> Mapping[str, str]:
        """Further fields of every answer of this handler. Nothing in them is a stranger's: they are not looked at."""
        return {}

    def expect_body(self) -> None:
        """The body is still to come: say how much of it is to be read."""

    async def run(self, arguments: list[bytes], named: dict[str, bytes], running: set[asyncio.Task[None]]) -> None:
        """What Tornado's ``_execute`` does, for a request whose body is handed over already.

        Its task takes itself out of those that are *running*.
        """
        try:
            method = str(self.request.method)
            if method not in _NAMES:
                raise HTTPError(405)
            self.path_args = [self.decode_argument(part) for part in arguments] if arguments else []
            self.path_kwargs = {name: self.decode_argument(part, name) for name, part in named.items()} if named else {}
            await self.prepare()  # type: ignore[misc]
            if self._finished or self.client_left:
                return
            await getattr(self, _NAMES[method])(*self.path_args, **self.path_kwargs)
            if not self._finished:
                self.finish()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - told as Tornado does
            self._fail(error)
        finally:
            if self.task is not None:
                running.discard(self.task)

    def _fail(self, error: BaseException) -> None:
        """Called where *error* is caught."""
        ending = isinstance(error, asyncio.CancelledError) and self.task is not None and self.task.cancelling()
        try:
            if not ending:
                self._handle_request_exception(error)
            elif not self._finished:
                self.send_error(500)
        except Exception:
            log.exception("a request's failure could not be told")
        if ending:
            raise error

    def on_connection_close(self) -> None:
        self.client_left = True
        if self.task is None and hasattr(self.request, "_body_future"):
            # Ends Tornado's wait for the rest of a body, which would keep the request in memory for ever.
            super().on_connection_close()

    def set_headers(self, headers: Mapping[str, str]) -> None:
        """``set_header`` for each of *headers*; ValueError for what must not be in a field's value."""
        if SAFE.fullmatch("".join(headers.values())) is None:
            raise ValueError(f"Unsafe header value in {headers!r}")
        self._headers.update(headers)

    def stream(self, letterhead: Letterhead, fields: Mapping[str, str], chunk: bytes) -> asyncio.Future[None] | None:
        """``set_headers`` and ``open`` at once, for a first *chunk* that is not empty.

        *letterhead* has what is ``always`` there, and what else streams of its kind have in common.
        """
        answer = self.answer
        touched = self.__dict__
        if (
            answer is None
            or ("_headers" in touched or "_new_cookie" in touched or self._write_buffer or self._headers_written)
            or (answer.head.version != "HTTP/1.1" or answer.head.method == "HEAD" or self._status_code != 200)
        ):
            self.set_headers({**letterhead.fields, **fields})
            return self.open(chunk)
        said = {"Date": _date(int(self.request._start_time)), **self.own_fields(), **fields}
        lines = {**letterhead.lines, **lines_of(said)}
        self._headers_written = True
        return answer.stream(lines.values(), chunk)

    def open(self, chunk: bytes) -> asyncio.Future[None] | None:
        """Write the head, and a first *chunk* of a body of any length; a future while the client is behind."""
        answer = self.answer
        if answer is None or self._headers_written or self._write_buffer or hasattr(self, "_new_cookie"):
            self.write(chunk)
            flushed = self.flush()
            return None if flushed.done() else flushed
        self._headers_written = True
        return answer.open(self._status_code, self._reason, self._headers, chunk)

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


@lru_cache(maxsize=4)
def _date(now: int) -> str:
    return format_timestamp(now)


class _Nowhere(HTTPConnection):
    """A connection for what is made only to be looked at."""

    def set_close_callback(self, callback: object) -> None:
        """There is nothing to close."""


def _known() -> bool:
    """Whether Tornado's own constructor sets nothing that ours does not."""
    request = HTTPServerRequest(
        start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=HTTPHeaders({"Host": "x"}), connection=_Nowhere()
    )
    theirs = RequestHandler(Application(), request)
    ours = {*vars(LeanHandler), "application", "request", "_write_buffer", "_headers"}
    return (
        vars(theirs).keys() <= ours and hasattr(theirs, "_handle_request_exception") and hasattr(request, "_start_time")
    )


LeanHandler.lean = _known()
