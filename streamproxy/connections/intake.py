"""A request's body on its way to whom it is for, piece by piece: where it was not there as a whole, with its head."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Protocol

from tornado.httputil import HTTPInputError, HTTPMessageDelegate

from streamproxy.connections import bounds
from streamproxy.connections.answer import Answer
from streamproxy.connections.chunks import Chunks

log = logging.getLogger(__name__)

_CONTINUE = b"HTTP/1.1 100 (Continue)\r\n\r\n"


class Source(Protocol):
    """What it needs of its connection."""

    loop: asyncio.AbstractEventLoop
    # Read from the socket and not looked at.
    unread: bytes

    def write(self, data: bytes) -> None: ...

    def advance(self) -> None:
        """Do whatever can be done with what was read."""

    def abort(self) -> None: ...


class Intake:
    """The body of the request that *answer* is for, handed on to *delegate*."""

    __slots__ = ("_answer", "_body", "_delegate", "_gate", "_opening", "_slow", "_source")

    def __init__(self, source: Source, answer: Answer, delegate: HTTPMessageDelegate) -> None:
        self._source = source
        self._answer = answer
        self._delegate = delegate
        # The head is handed on, and nothing of the body; then what is still to come, None when all has.
        self._opening = True
        self._body: int | Chunks | None = None
        # Before it is done nothing more is handed on.
        self._gate: Awaitable[None] | None = None
        self._slow: asyncio.TimerHandle | None = None

    @property
    def unfinished(self) -> bool:
        """Whether something of the body is still to come."""
        return self._opening or self._body is not None

    def begin(self) -> None:
        """Hand on the head."""
        head = self._answer.head
        self._wait_for(self._delegate.headers_received(head.line, head.headers))

    def read(self) -> bool:
        """Hand on what is there; False where nothing is, where it has to wait, and where all has been.

        HTTPInputError for a body that is too long, or for chunks that are none.
        """
        if self._gate is not None:
            return False
        if self._opening:
            self._open()
        if self._body is None:
            return False
        if self._body == 0:
            self._body = None
            self.stop()
            self._delegate.finish()
            return False
        source = self._source
        if not source.unread:
            if self._slow is None:
                self._slow = source.loop.call_later(bounds.BODY_SECONDS, source.abort)
            return False
        data = self._piece(self._body)
        if data:
            self._wait_for(self._delegate.data_received(data))
        return True

    def lose(self) -> None:
        """The client is gone before its request was whole."""
        self._delegate.on_connection_close()

    def stop(self) -> None:
        """Nobody waits for more."""
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _open(self) -> None:
        """The handler is ready for the body."""
        self._opening = False
        answer, head = self._answer, self._answer.head
        if head.waits:
            self._source.write(_CONTINUE)
        self._body = Chunks(answer.max_body_size) if head.length is None else head.length
        if head.length is not None and head.length > answer.max_body_size:
            raise HTTPInputError("Content-Length too long")

    def _piece(self, body: int | Chunks) -> bytes:
        source = self._source
        unread = source.unread
        if isinstance(body, int):
            data, source.unread = unread[:body], unread[body:]
            self._body = body - len(data)
        else:
            data, source.unread = body.feed(unread), body.rest
            if body.over:
                self._body = 0
        return data

    def _wait_for(self, gate: Awaitable[None] | None) -> None:
        if gate is None:
            return
        future = asyncio.ensure_future(gate)
        if not future.done():
            self._gate = future
            future.add_done_callback(self._go_on)

    def _go_on(self, gate: asyncio.Future[None]) -> None:
        self._gate = None
        if gate.cancelled() or gate.exception() is not None:
            log.error(
                "a request's body could not be handed on", exc_info=None if gate.cancelled() else gate.exception()
            )
            self._source.abort()
        self._source.advance()
