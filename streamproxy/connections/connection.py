"""One client's connection: llhttp reads the head of each request, a handler of Tornado's ``Application`` answers it.

A request whose body is there goes straight to its handler; for any other a delegate is handed what comes.
Requests are answered one after another, in the order they came. The socket is read while an answer is written, so that
a client's end is seen when it comes; what it sends meanwhile waits, up to a bound. Whatever is no sound request is
refused with 400 and the connection's end; what is too slow, or has a head over the bound, only with that.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast

from tornado.httputil import HTTPInputError

from streamproxy.connections import bounds
from streamproxy.connections.answer import Answer
from streamproxy.connections.head import end_of_head, parse
from streamproxy.connections.intake import Intake
from streamproxy.connections.occupancy import Occupancy
from streamproxy.connections.origin import Peer
from streamproxy.connections.outbox import Outbox, send
from streamproxy.connections.reception import Reception
from streamproxy.connections.request import make_request
from streamproxy.connections.sockets import is_gone

log = logging.getLogger(__name__)

_REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"
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
        *("_advancing", "_answer", "_due", "_home", "_intake", "_paused", "_searched", "_timer"),
        *("behind", "closed", "done", "handed", "loop", "outgoing", "peer", "transport", "unread"),
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
        self.unread = b""
        self._searched = 0
        self._paused = False
        # Of the request that is being read or answered.
        self._answer: Answer | None = None
        self._intake: Intake | None = None
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
        self.unread = self.unread + data if self.unread else data
        self.advance()

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
            self.advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a loss is a loss
        self.closed = True
        self.outgoing = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._intake is not None:
            self._intake.stop()
        self._home.occupancy.forget(self)
        self._caught_up()
        self._tell()

    # -- reading ------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Do whatever can be done with what was read. What it calls may end the answer, which calls it again."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not self.closed and (self._begin() if self._answer is None else self._read_body()):
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
        if self.unread or self._paused:
            self._bound()

    def _read_body(self) -> bool:
        intake = self._intake
        return intake is not None and intake.read()

    def _bound(self) -> None:
        """Read no further while too much waits to be looked at."""
        if self.closed:
            return
        if self._paused:
            if len(self.unread) <= bounds.MAX_UNREAD:
                self._paused = False
                self.transport.resume_reading()
        elif len(self.unread) > bounds.MAX_UNREAD:
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
        unread = self.unread
        if not unread or self.behind is not None:
            return False
        end = end_of_head(unread, self._searched)
        if (end or len(unread)) > bounds.MAX_HEADER_SIZE:
            self.abort()
            return False
        if not end:
            self._searched = max(0, len(unread) - 2)
            return False
        self._searched, self.unread = 0, unread[end:]
        head = parse(unread[:end])
        answer = Answer(self, head)
        request = make_request(head, answer)
        self._home.occupancy.begin(self)
        self._due = _NEVER
        self._answer = answer
        length, unread = head.length, self.unread
        reception = self._home.reception
        whole = length is not None and length <= len(unread) and not head.waits
        if whole and reception.receive(request, unread[:length]):
            self.unread = unread[length:]
            return False
        self._intake = intake = Intake(self, answer, reception.delegate(request, head))
        intake.begin()
        return True

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
        intake = self._intake
        self._answer = self._intake = None
        if intake is not None and intake.unfinished:
            intake.stop()
            self._shut()
        elif not answer.lasting:
            self._shut()
        elif self.behind is None:
            self._rest()
            if self.unread:
                # The handler that has just finished comes first.
                self.loop.call_soon(self.advance)
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
        intake, self._intake = self._intake, None
        if answer is None:
            return
        callback, answer.close_callback = answer.close_callback, None
        try:
            if intake is not None and intake.unfinished:
                intake.lose()
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
