"""Random ids, unguessable like those of ``secrets``, without a system call for each.

The kernel's bytes are fetched for many ids at once. A forked process forgets what it has inherited: no two processes
ever give the same id.
"""

from __future__ import annotations

import os
import string
from binascii import b2a_base64

_AT_ONCE = 128
_URLSAFE = bytes.maketrans(b"+/", b"-_")
_BASE64 = f"{string.ascii_uppercase}{string.ascii_lowercase}{string.digits}+/".encode()
# The characters of base64url in the order of their bytes: what is encoded so sorts as what it encodes.
_SORTED = bytes.maketrans(_BASE64, bytes(sorted(_BASE64.translate(_URLSAFE))))
# By the size of what was cut from it. list.pop is atomic: threads may ask, too.
_stock: dict[int, list[bytes]] = {}


def token(size: int) -> str:
    """*size* random bytes in base64url, without padding."""
    return b2a_base64(_random(size), newline=False).rstrip(b"=").translate(_URLSAFE).decode()


def timed_token(milliseconds: int) -> str:
    """22 characters of base64url's alphabet: 48 bits of time, *milliseconds* since the epoch, and 80 random ones.

    As in UUIDs of version 7 (RFC 9562, section 5.7), and for their reason: a later one sorts behind an earlier one,
    byte by byte, so that an index of millions of them grows at its end and not on a page of its own for each.
    """
    timed = milliseconds.to_bytes(6, "big") + _random(10)
    return b2a_base64(timed, newline=False).rstrip(b"=").translate(_SORTED).decode()


def _random(size: int) -> bytes:
    stock = _stock.setdefault(size, [])
    try:
        return stock.pop()
    except IndexError:
        fresh = os.urandom(size * _AT_ONCE)
        stock += [fresh[at : at + size] for at in range(0, len(fresh), size)]
        return stock.pop()


os.register_at_fork(after_in_child=_stock.clear)
