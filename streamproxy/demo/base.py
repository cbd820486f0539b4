"""What all handlers of the demo model share: JSON in OpenAI's shape, errors too, and nothing done for who has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from streamproxy.errors import BadRequestError, InternalServerError, MethodNotAllowedError, StreamProxyError
from streamproxy.wire import error as wire_error


class DemoHandler(RequestHandler):
    """See the module."""

    _answering: asyncio.Task[Any] | None = None
    _gone = False

    def set_default_headers(self) -> None:
        self.set_header("Server", "streamproxy-demo")
        self.set_header("Content-Type", "application/json")

    def compute_etag(self) -> None:
        """No ETag: an answer is never the same twice."""

    def on_connection_close(self) -> None:
        self._gone = True
        if self._answering is not None:
            self._answering.cancel()

    @asynccontextmanager
    async def while_client_listens(self) -> AsyncIterator[None]:
        """Stop quietly what runs inside when the client leaves."""
        self._answering = asyncio.current_task()
        try:
            yield
        except (asyncio.CancelledError, StreamClosedError):
            # The client left, and we stopped; whoever else cancels us means the whole task.
            if not self._gone:
                raise

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        raised = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        error = _as_ours(raised, status_code)
        self.set_status(error.status)
        for name, value in wire_error.headers(error).items():
            self.set_header(name, value)
        self.finish(wire_error.encode(error))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        if not isinstance(value, StreamProxyError):
            super().log_exception(typ, value, tb)


def _as_ours(raised: BaseException | None, status: int) -> StreamProxyError:
    if isinstance(raised, StreamProxyError):
        return raised
    if isinstance(raised, HTTPError) and status == 405:
        return MethodNotAllowedError("This path is not for that method.")
    if isinstance(raised, HTTPError) and status < 500:
        return BadRequestError("The request cannot be read.")
    return InternalServerError("The demo model made a mistake; its log knows more.")
