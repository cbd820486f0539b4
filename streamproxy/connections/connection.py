"""One client's connection: llhttp reads the head of each request, a handler of Tornado's ``Application`` answers it.

A request whose body is there goes straight to its handler; for any other a delegate is handed what comes.
Requests are answered one after another, in the order they came. The socket is read while an answer is written, so that
a client's end is seen when it comes; what it sends meanwhile waits, up to a bound. Whatever is no sound request is
refused with 400 and the connection's end; what is too slow, or has a head over the bound, only with that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Protocol, cast

from tornado.httputil import HTTPInputError, HTTPMessageDelegate

from streamproxy.connections import bounds
from streamproxy.connections.answer import Answer
from streamproxy.connections.chunks import Chunks
from streamproxy.connections.head import end_of_head, parse
from streamproxy.connections.occupancy import Occupancy
from streamproxy.connections.origin import Peer
from streamproxy.connections.outbox import Outbox, send
from streamproxy.connections.reception import Reception
from streamproxy.connections.request import make_request
from streamproxy.connections.sockets import is_gone

log = logging.getLogger(__name__)

_REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 (Continue)\r\n\r\n"
_NEVER = float("inf")


class Home(Protocol):
    """What a connection needs of its server."""

    reception: Reception
    occupancy: Occupancy[Connection]
    outbox: Outbox
    # Done already.
    done: asyncio.Future[None]


class Connection(asyncio.Protocol):
    """Between ``connection_made`` and ``connection_lost`` it is one of its server's connections."""

    __slots__ = (
        *("_advancing", "_answer", "_body", "_delegate", "_due", "_gate", "_home", "_opening"),
        *("_paused", "_searched", "_slow", "_timer", "_unread"),
        *("behind", "closed", "done", "handed", "loop", "outgoing", "peer", "transport"),
    )

    def __init__(self, home: Home, peer: Peer) -> None:
        self.peer = peer
        # Nothing can be written any more.
        self.closed = False
        self.behind: asyncio.Future[None] | None = None
        self.done = home.done
        self._home = home
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.handed = 0
        # Of this turn of the loop, sent at its end.
        self.outgoing = b""
        # Read from the socket and not looked at.
        self._unread = b""
        self._searched = 0
        self._paused = False
        # Of the request that is being read or answered.
        self._answer: Answer | None = None
        self._delegate: HTTPMessageDelegate | None = None
        # Its head is read, and nothing of its body; then what is still to come, None when all has.
        self._opening = False
        self._body: int | Chunks | None = None
        # Before it is done nothing more of the body is handed on.
        self._gate: Awaitable[None] | None = None
        self._slow: asyncio.TimerHandle | None = None
        self._advancing = False
        self._due = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    # -- what the transport calls -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are not of asyncio's classes, and do the same.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=bounds.MAX_UNSENT, low=0)
        self._rest()
        self._timer = self.loop.call_later(bounds.IDLE_SECONDS, self._look)

    def data_received(self, data: bytes) -> None:
        self._unread = self._unread + data if self._unread else data
        self._advance()

    def eof_received(self) -> None:
        # Half-closed is closed, as Tornado has it: whoever waits for an answer keeps his side open.
        if self._answer is not None:
            self.abort()

    def pause_writing(self) -> None:
        self.behind = self.loop.create_future()

    def resume_writing(self) -> None:
        self._caught_up()
        if self._answer is None and not self.closed:
            self._rest()
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a loss is a loss
        self.closed = True
        self.outgoing = b""
        for timer in (self._timer, self._slow):
            if timer is not None:
                timer.cancel()
        self._timer = self._slow = None
        self._home.occupancy.forget(self)
        self._caught_up()
        self._tell()

    # -- reading ------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Do whatever can be done with what was read. What it calls may end the answer, which calls it again."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not self.closed and self._gate is None and (self._begin() if self._answer is None else self._read()):
                pass
        except HTTPInputError as error:
            log.info("malformed request: %s", error)
            self.write(_REFUSAL)
            self._shut()
        except Exception:
            log.exception("a request could not be handed on")
            self.abort()
        finally:
            self._advancing = False
        if self._unread or self._paused:
            self._bound()

    def _bound(self) -> None:
        """Read no further while too much waits to be looked at."""
        if self.closed:
            return
        if self._paused:
            if len(self._unread) <= bounds.MAX_UNREAD:
                self._paused = False
                self.transport.resume_reading()
        elif len(self._unread) > bounds.MAX_UNREAD:
            self._paused = True
            self.transport.pause_reading()
            self.loop.call_later(bounds.PULSE_SECONDS, self._pulse)

    def _pulse(self) -> None:
        """That a client leaves is not seen while its socket is not read: the kernel is asked."""
        if self.closed or not self._paused:
            return
        if is_gone(self.transport.get_extra_info("socket")):
            self.abort()
        else:
            self.loop.call_later(bounds.PULSE_SECONDS, self._pulse)

    def _begin(self) -> bool:
        """Begin the request whose head is there; False where there is none."""
        unread = self._unread
        if not unread or self.behind is not None:
            return False
        end = end_of_head(unread, self._searched)
        if (end or len(unread)) > bounds.MAX_HEADER_SIZE:
            self.abort()
            return False
        if not end:
            self._searched = max(0, len(unread) - 2)
            return False
        self._searched, self._unread = 0, unread[end:]
        head = parse(unread[:end])
        answer = Answer(self, head)
        request = make_request(head, answer)
        self._home.occupancy.begin(self)
        self._due = _NEVER
        self._answer = answer
        length, unread = head.length, self._unread
        reception = self._home.reception
        whole = length is not None and length <= len(unread) and not head.waits
        if whole and reception.receive(request, unread[:length]):
            self._unread = unread[length:]
            return False
        self._opening = True
        self._delegate = reception.delegate(request, head)
        self._wait_for(self._delegate.headers_received(head.line, head.headers))
        return True

    def _read(self) -> bool:
        """Hand on what is there of the body; False where nothing is, or all has been."""
        answer, delegate = self._answer, self._delegate
        if answer is None or delegate is None:
            return False
        if self._opening:
            self._open(answer)
        if self._body is None:
            return False
        if self._body == 0:
            self._body = None
            if self._slow is not None:
                self._slow.cancel()
                self._slow = None
            delegate.finish()
            return False
        if not self._unread:
            if self._slow is None:
                self._slow = self.loop.call_later(bounds.BODY_SECONDS, self.abort)
            return False
        data = self._piece(self._body)
        if data:
            self._wait_for(delegate.data_received(data))
        return True

    def _piece(self, body: int | Chunks) -> bytes:
        """What was read of the body; HTTPInputError for chunks that are none."""
        unread = self._unread
        if isinstance(body, int):
            data, self._unread = unread[:body], unread[body:]
            self._body = body - len(data)
        else:
            data, self._unread = body.feed(unread), body.rest
            if body.over:
                self._body = 0
        return data

    def _open(self, answer: Answer) -> None:
        """The handler is ready for the body."""
        self._opening = False
        head = answer.head
        if head.waits:
            self.write(_CONTINUE)
        self._body = Chunks(answer.max_body_size) if head.length is None else head.length
        if head.length is not None and head.length > answer.max_body_size:
            raise HTTPInputError("Content-Length too long")

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
            self.abort()
        self._advance()

    # -- writing ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self.closed:
            return
        if self.outgoing:
            data = self.outgoing + data
        elif (outbox := self._home.outbox).senders:
            outbox.senders.append(self)
        else:
            outbox.add(self)
        self.outgoing = data
        if len(data) > bounds.MOST_TOGETHER:
            send(self)

    def write_chunk(self, data: bytes) -> asyncio.Future[None] | None:
        """``write`` a chunk of a body (RFC 9112, section 7.1). A future where the client is behind.

        Every event comes here: it is no step more than needed.
        """
        if self.closed:
            return None
        data = b"%x\r\n%b\r\n" % (len(data), data)
        if self.outgoing:
            data = self.outgoing + data
        elif (outbox := self._home.outbox).senders:
            outbox.senders.append(self)
        else:
            outbox.add(self)
        self.outgoing = data
        if len(data) > bounds.MOST_TOGETHER:
            send(self)
        return self.behind

    def writing(self) -> bool:
        """Whether something waits that the socket has not taken."""
        return not self.closed and (bool(self.outgoing) or self.transport.get_write_buffer_size() > 0)

    @property
    def taken(self) -> int:
        """Bytes that the socket has taken."""
        return self.handed - self.transport.get_write_buffer_size()

    def _caught_up(self) -> None:
        behind, self.behind = self.behind, None
        if behind is not None and not behind.done():
            behind.set_result(None)

    # -- ending -------------------------------------------------------------------------------------------

    def finished(self, answer: Answer) -> None:
        """*answer* is complete: the next request's turn, or the end."""
        if answer is not self._answer:
            return
        unread_body = self._opening or self._body is not None
        self._answer = self._delegate = self._body = None
        self._opening = False
        if unread_body or not answer.lasting:
            self._shut()
        elif self.behind is None:
            self._rest()
            if self._unread:
                # The handler that has just finished comes first.
                self.loop.call_soon(self._advance)
        else:
            self._watch_taking()

    def leave(self) -> None:
        """Lose the client in the middle of its answer; what it has been sent arrives."""
        if self.behind is not None:
            self.abort()
        elif not self.closed:
            self._shut()
            self.loop.call_soon(self._tell)

    def abort(self) -> None:
        """Close at once; whoever answers is told soon."""
        self.closed = True
        self.transport.abort()

    def _shut(self) -> None:
        """Close when all that was written has been taken, or has not been for WRITE_SECONDS."""
        if self.closed:
            return
        send(self)
        self.closed = True
        self.transport.close()
        self._watch_taking()

    def _watch_taking(self) -> None:
        """What was written last may be much, and its reader slow: it is given up when it has taken nothing for long."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self.loop.call_later(bounds.WRITE_SECONDS, self._look_at_taking, self.taken)

    def _look_at_taking(self, taken: int) -> None:
        if not self.closed and self.behind is None:
            # It has taken all, and rests or is being answered again.
            self._look()
        elif self.taken > taken:
            self._watch_taking()
        else:
            self.abort()

    def _tell(self) -> None:
        """Whoever reads or answers a request hears that its client is gone."""
        answer, self._answer = self._answer, None
        delegate, self._delegate = self._delegate, None
        if answer is None:
            return
        unread_body = self._opening or self._body is not None
        callback, answer.close_callback = answer.close_callback, None
        try:
            if unread_body and delegate is not None:
                delegate.on_connection_close()
            elif callback is not None:
                callback()
        except Exception:
            log.exception("the end of a connection could not be told")

    def _rest(self) -> None:
        """Wait for a request."""
        now = self.loop.time()
        self._due = now + bounds.IDLE_SECONDS
        self._home.occupancy.rest(self, now)

    def _look(self) -> None:
        """One timer a connection, and not one a request: it is seldom due."""
        now = self.loop.time()
        if now >= self._due:
            self.abort()
        else:
            self._timer = self.loop.call_later(min(self._due - now, bounds.IDLE_SECONDS), self._look)
