"""The last look before a connection is made: at the address itself, when the name has been resolved.

A check of the URL or in the resolver is not enough: IP literals never reach a resolver, and have dozens of
spellings (``0x7f.1``, ``[::ffff:7f00:1]``, ``2130706433``); and a name may lead elsewhere the second time it is
asked. The address checked here is the one that is connected, whatever led to it.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable

from aiohappyeyeballs import AddrInfoType

from streamproxy.domain.addresses import is_allowed

log = logging.getLogger(__name__)


class AddressRefusedError(OSError):
    """The address is none that an upstream may have. One text for all: aiohappyeyeballs keeps the class then."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "no upstream may be at this address")


def guarded_sockets(*, private: bool) -> Callable[[AddrInfoType], socket.socket]:
    """A ``socket_factory`` for aiohttp's connector; *private*: private ranges are allowed too."""

    def open_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, place = info
        address = str(place[0])
        if not is_allowed(address, private=private):
            log.error("refused to connect an upstream at %s: a private address needs allow_private = true", address)
            raise AddressRefusedError
        return socket.socket(family=family, type=kind, proto=protocol)

    return open_socket
