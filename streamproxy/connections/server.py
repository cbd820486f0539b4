"""The server for clients: accepts, knows which connections are idle, and stops without cutting anybody."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable, Sequence
from typing import Any

from tornado.web import Application

from streamproxy.connections.connection import Connection
from streamproxy.connections.crowd import FEW, Crowd, Seat
from streamproxy.connections.occupancy import Occupancy
from streamproxy.connections.origin import NO_ADDRESS, Peer
from streamproxy.connections.outbox import Outbox
from streamproxy.connections.reception import Reception
from streamproxy.connections.sockets import EXHAUSTED, PAUSE_SECONDS, is_internet, prepare

log = logging.getLogger(__name__)

# So many a turn of the loop: who is connected already is not to wait for a crowd at the door.
_AT_ONCE = 128
# How long a new connection waits for a worker that has fewer than we.
STEP_BACK_SECONDS = 0.003


class DirectServer:
    """Fills ``serving.Server``. It must be made while its loop runs.

    *seat* is this worker's among those that accept from the same socket.
    """

    def __init__(self, application: Application, *, trusted_proxies: Sequence[str], seat: Seat | None = None) -> None:
        self.application = application
        self.occupancy: Occupancy[Connection] = Occupancy(Connection.leave, left=self._count)
        self._seat = Crowd(1).seat(0) if seat is None else seat
        self._loop = asyncio.get_running_loop()
        self.outbox = Outbox(self._loop)
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.done.set_result(None)
        self.reception = Reception(application)
        self._trusted = frozenset(trusted_proxies)
        self._listening: dict[int, socket.socket] = {}
        self._opening: set[asyncio.Task[Any]] = set()

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        for sock in sockets:
            sock.settimeout(0)
            self._listening[sock.fileno()] = sock
            self._loop.add_reader(sock, self._accept, sock)
        self._count()

    def _count(self) -> None:
        if self._listening:
            self._seat.have(self.occupancy.count + len(self._opening))

    def _accept(self, listening: socket.socket, *, unwanted: int = 0) -> None:
        """Let in who waits; *unwanted* are so many that no other worker has wanted."""
        for number in range(_AT_ONCE):
            if number >= unwanted and self._seat.is_full:
                self._loop.remove_reader(listening)
                self._loop.call_later(STEP_BACK_SECONDS, self._go_on, listening)
                return
            try:
                sock, address = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._pause(listening)
                return
            self.handle(sock, address)
            self._count()

    def _pause(self, listening: socket.socket) -> None:
        """Take nobody for a second: the queue stays ready, and would be asked again and again for nothing.

        Who waits there is taken by another worker, or by this one when somebody has left.
        """
        self._loop.remove_reader(listening)
        log.warning("there is no file descriptor left: nobody is let in for %g s; raise LimitNOFILE", PAUSE_SECONDS)
        self._loop.call_later(PAUSE_SECONDS, self._go_on, listening)

    def _go_on(self, listening: socket.socket) -> None:
        if listening.fileno() in self._listening:
            self._loop.add_reader(listening, self._accept, listening)
            self._accept(listening, unwanted=FEW)

    def handle(self, sock: socket.socket, address: Any) -> None:
        """Serve the accepted *sock*."""
        try:
            prepare(sock)
        except OSError:  # it is gone already
            sock.close()
            return
        peer = Peer(address, address[0] if is_internet(sock) and address else NO_ADDRESS, self._trusted)
        opening = self._loop.create_task(self._open(sock, peer))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, sock: socket.socket, peer: Peer) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: Connection(self, peer), sock)
        except OSError as error:
            log.info("a client was gone before it was let in: %s", error)
            sock.close()

    def stop(self) -> None:
        """Accept no more."""
        self._seat.leave()
        for listening in self._listening.values():
            self._loop.remove_reader(listening)
            listening.close()
        self._listening.clear()

    @property
    def busy(self) -> int:
        """Connections with a request under way."""
        return self.occupancy.busy

    async def drain(self, *, grace: float, hurry: asyncio.Event) -> bool:
        """Stop accepting, let running requests end for *grace* seconds or until *hurry*; True when all did."""
        self.stop()
        return await self.occupancy.drain(grace=grace, hurry=hurry)

    async def wait_until_idle(self) -> None:
        """Return when no request is under way any more."""
        await self.occupancy.wait_until_idle()

    async def close_all_connections(self) -> None:
        """Cut whoever is still there."""
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in self.occupancy.all:
            connection.abort()
        await self.occupancy.wait_until_empty()
