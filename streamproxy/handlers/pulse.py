"""Finds out that a client left where Tornado does not look.

Tornado listens for the end of a connection only while nothing unread is in its buffer: one pipelined byte
behind the request, and a silent handler waits for nobody. The kernel knows; it is asked once a heartbeat.
"""

from __future__ import annotations

import asyncio
import socket

from tornado.http1connection import HTTP1Connection
from tornado.web import RequestHandler

# The first byte of struct tcp_info is the state; these two mean that the other side has closed (linux/tcp_states.h).
_GONE = frozenset({7, 8})  # TCP_CLOSE, TCP_CLOSE_WAIT


class Pulse:
    """Closes the handler's connection when its client has gone; ``stop`` it when the answer is complete."""

    def __init__(self, handler: RequestHandler, seconds: float) -> None:
        self._connection = handler.request.connection
        self._seconds = seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._beat)

    def stop(self) -> None:
        self._timer.cancel()

    def _beat(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._beat)
        if isinstance(self._connection, HTTP1Connection) and _gone(self._connection.stream.socket):
            # Runs the handler's on_connection_close.
            self._connection.stream.close()


def _gone(sock: socket.socket | None) -> bool:
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6) or not hasattr(socket, "TCP_INFO"):
        return False
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _GONE
