"""What every handler shares: request id, principal, bounded body, errors in one shape, CORS, the log line.

Handlers parse, call one thing, and write. Errors of the tree become their own status and body; anything else is a
defect: it is logged with its traceback under the request id, and the client reads ``internal_error``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import partial
from http.client import responses
from typing import Any, ClassVar

from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError, RequestHandler

from streamproxy.connections.answer import Answer
from streamproxy.connections.client import Client
from streamproxy.connections.handler import LeanHandler
from streamproxy.connections.iostreams import IOStreamClient
from streamproxy.domain.identity import Principal
from streamproxy.errors import (
    BadRequestError,
    InternalServerError,
    MethodNotAllowedError,
    NotFoundError,
    RequestTooLargeError,
    StreamProxyError,
    UnsupportedMediaTypeError,
)
from streamproxy.handlers.environment import Environment
from streamproxy.handlers.listening import Listening
from streamproxy.log import access_line
from streamproxy.randomness import token
from streamproxy.wire import error as wire_error

log = logging.getLogger(__name__)
access = logging.getLogger("streamproxy.access")

# Tornado reads at most this much of a body; what is over the application's own bound is dropped as it comes,
# so that the client can be told why instead of meeting a closed connection.
MAX_DISCARDED_BODY = 16 << 20
# nginx's word for a client that left before the answer was complete.
CLIENT_CLOSED_REQUEST = 499


class BaseHandler(LeanHandler):
    """See the module. Subclasses that need no credential set ``public = True``."""

    public: ClassVar[bool] = False
    always: ClassVar[Mapping[str, str]] = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    principal: Principal
    logged = False
    _body: bytes | bytearray = b""
    _body_too_large = False
    _listening: Listening | None = None

    def initialize(self, environment: Environment) -> None:
        self.environment = environment
        self.client: Client = self.answer or self._client()
        # The request's fields by their names, spelled like X-Session-Id.
        self.sent: Mapping[str, str] = self.answer.head.fields if self.answer else self.request.headers
        self.request_id = f"req_{token(12)}"
        self.began = time.monotonic()
        self.log_fields: dict[str, object] = {}

    def _client(self) -> Client:
        connection = self.request.connection
        if isinstance(connection, Answer):
            return connection
        if isinstance(connection, HTTP1Connection):
            return IOStreamClient(self, connection, shortcut=self.environment.shortcuts)
        raise TypeError("a connection of neither server")

    # -- before the method ----------------------------------------------------------------------------

    def expect_body(self) -> None:
        self.client.set_max_body_size(MAX_DISCARDED_BODY)

    async def prepare(self) -> None:
        if self.task is None:  # Otherwise all of it is here.
            self.expect_body()
        if self.request.method == "OPTIONS":
            return
        if self.request.version == "HTTP/1.0":
            self.environment.old_proxy.look(self.request)
        if self.environment.draining.is_set():
            self.set_header("Connection", "close")
        try:
            await self.admit()
        except StreamProxyError as refusal:
            # The answer waits until the body was read: closing a socket with unread bytes in it resets the
            # connection, and the client would never see why it was refused.
            setattr(self, str(self.request.method).lower(), partial(self._refuse, refusal))

    async def admit(self) -> None:
        """Whatever may refuse the request before its body is looked at."""
        if not self.public:
            environment, sent = self.environment, self.sent
            cookie = environment.bearer_in_cookie(self.request) if "Cookie" in sent else None
            self.principal = await environment.auth.authenticate(sent.get("Authorization"), cookie=cookie)

    @staticmethod
    async def _refuse(refusal: StreamProxyError, *_: str, **__: str) -> None:
        raise refusal

    def data_received(self, chunk: bytes) -> None:
        if self._body_too_large:
            return
        if not self._body:  # Most come in one piece.
            self._body = chunk
        else:
            self._body = self._body if isinstance(self._body, bytearray) else bytearray(self._body)
            self._body += chunk
        if len(self._body) > self.environment.max_body_bytes:
            self._body_too_large = True
            self._body = b""

    @property
    def body(self) -> bytes:
        """The request's body; RequestTooLargeError over the bound."""
        if self._body_too_large:
            raise RequestTooLargeError(f"The body is larger than {self.environment.max_body_bytes} bytes.")
        return bytes(self._body)

    @property
    def body_kind(self) -> str:
        """The media type that the body is announced as, in lower case, without parameters; empty for none."""
        return self.sent.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def json_body(self) -> bytes:
        """The request's body; RequestTooLargeError over the bound, UnsupportedMediaTypeError for a form or file."""
        body = self.body
        if "Content-Type" not in self.sent or self.sent["Content-Type"] != "application/json":
            kind = self.body_kind
            if kind and kind != "application/json" and not kind.endswith("+json"):
                raise UnsupportedMediaTypeError("Send the body as application/json.")
        return body

    # -- while it works ---------------------------------------------------------------------------------

    def while_client_listens(self) -> Listening:
        """Use as ``with``: what runs inside is cancelled as soon as the client leaves, and ends quietly then."""
        task = self.task or asyncio.current_task()
        every = self.environment.heartbeat_seconds
        self._listening = Listening(task, self.client, every=every, left=self.client_left)
        return self._listening

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self._listening is not None:
            self._listening.leave()

    # -- the answer -----------------------------------------------------------------------------------

    def own_fields(self) -> Mapping[str, str]:
        cors, sent = self.environment.cors, self.sent
        allowing = cors.answer(sent["Origin"]) if "Origin" in sent else cors.others
        return {"X-Request-Id": self.request_id, **allowing}

    def compute_etag(self) -> None:
        """No answer of ours is worth hashing: they are all their own."""

    def write_json(self, body: bytes, *, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.write(body)

    def answer_headers(self) -> Mapping[str, str]:
        """Fields that belong on this handler's answers, also when they fail."""
        return {}

    def error_answer(self, error: StreamProxyError) -> tuple[int, bytes]:
        """Status and JSON body for *error*, in the shape that this handler's callers know."""
        return error.status, wire_error.encode(error)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        if self._headers_written and not self._finished:
            # What is out cannot be taken back. The client must see that it was cut: a finished body looks whole.
            self.log_fields.setdefault("error", self._error_of(kwargs.get("exc_info"), status_code).code)
            self.client.close()
            self.on_finish()
            return
        super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = self._error_of(kwargs.get("exc_info"), status_code)
        self.log_fields.setdefault("error", error.code)
        self.set_headers(self.answer_headers())
        self.set_headers(wire_error.headers(error))
        if isinstance(error, MethodNotAllowedError):
            self.set_header("Allow", ", ".join(sorted(self.methods())))
        status, body = self.error_answer(error)
        self.write_json(body, status=status)
        self.finish()

    @classmethod
    def methods(cls) -> set[str]:
        """The methods this handler answers."""
        unimplemented = RequestHandler._unimplemented_method  # tornado's own mark for "not written"
        return {m for m in cls.SUPPORTED_METHODS if getattr(cls, m.lower()) is not unimplemented}

    def _error_of(self, exc_info: Any, status_code: int) -> StreamProxyError:
        error = exc_info[1] if exc_info else None
        if isinstance(error, StreamProxyError):
            return error
        if isinstance(error, HTTPError) and error.status_code < 500:
            return _of_status(error.status_code)
        return _of_status(status_code) if error is None else InternalServerError("An error of ours; it is logged.")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not isinstance(value, StreamProxyError | HTTPError):
            log.error("request %s failed", self.request_id, exc_info=(typ, value, tb))

    async def options(self, *_: str, **__: str) -> None:
        self.set_headers(self.environment.cors.preflight(self.request.headers))
        self.set_status(204)

    # -- the line in the log ------------------------------------------------------------------------------

    def on_finish(self) -> None:
        """One line a request, when it is over. Never content, credential or query."""
        if self.logged:
            return
        self.logged = True
        said = {
            "request_id": self.request_id,
            "method": self.request.method,
            "path": self.request.path,
            "status": CLIENT_CLOSED_REQUEST if self.client_left else self._status_code,
            "ms": int((time.monotonic() - self.began) * 1000),
            "principal": self.principal.id if "principal" in self.__dict__ else None,
            **self.log_fields,
        }
        access_line(access, said, self.client.loop)


class NotFoundHandler(BaseHandler):
    """Every path that no route knows."""

    public = True

    async def admit(self) -> None:
        raise NotFoundError("There is nothing at this path.")


def _of_status(status: int) -> StreamProxyError:
    if status == 404:
        return NotFoundError("There is nothing at this path.")
    if status == 405:
        return MethodNotAllowedError("This path does not know this method.")
    if status >= 500:
        return InternalServerError("An error of ours; it is logged.")
    return BadRequestError(responses.get(status, "Bad request"))
