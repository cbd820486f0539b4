"""The options of an accepted socket, and what the kernel knows of its other end."""

from __future__ import annotations

import errno
import socket

# Unacknowledged for so long, a peer is gone: no FIN comes from a cut cable.
USER_TIMEOUT_MS = 20_000
# Bounds what the kernel keeps for a slow reader.
SEND_BUFFER = 128 * 1024
# What accept(2) says when this process or this machine can have no more; asyncio's own servers pause as long then.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
PAUSE_SECONDS = 1.0
_INTERNET = (socket.AF_INET, socket.AF_INET6)
# The first byte of struct tcp_info is the state; these two mean that the other side has closed (linux/tcp_states.h).
_GONE = frozenset({7, 8})  # TCP_CLOSE, TCP_CLOSE_WAIT


def is_internet(sock: socket.socket) -> bool:
    """Whether it is TCP, and not a unix socket."""
    return sock.family in _INTERNET


def prepare(sock: socket.socket) -> None:
    """Make a dead or slow peer cheap, and send every event at once."""
    if is_internet(sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


def is_gone(sock: socket.socket | None) -> bool:
    """Whether the kernel has seen the other side close; False where that is not known."""
    if sock is None or not is_internet(sock) or not hasattr(socket, "TCP_INFO"):
        return False
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _GONE
