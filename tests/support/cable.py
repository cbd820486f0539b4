"""A cut cable: what is sent to a socket is lost on its way, nobody acknowledges it, and no FIN or RST tells.

Done by a filter (BPF) on the socket, whose kernel then drops each segment before TCP sees it: on loopback, without a
network namespace, and for one connection alone. Most kernels let everybody filter their own sockets, some only whoever
may administer the network.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from functools import cache

# <asm-generic/socket.h>; the socket module does not have it.
_SO_ATTACH_FILTER = 26
# struct sock_filter, <linux/filter.h>: BPF_RET | BPF_K with 0, take nothing of any packet.
_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)


def cut_cable(sock: socket.socket) -> None:
    """From now on nothing reaches *sock*. PermissionError where this account may not."""
    program = ctypes.create_string_buffer(_NOTHING, len(_NOTHING))
    # struct sock_fprog: how many instructions, and where.
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))


@cache
def may_cut() -> bool:
    """Whether ``cut_cable`` is allowed here."""
    with socket.socket() as sock:
        try:
            cut_cable(sock)
        except PermissionError:
            return False
        return True
