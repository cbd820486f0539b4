"""Random ids, unguessable like those of ``secrets``, without a system call for each.

The kernel's bytes are fetched for many ids at once. A forked process forgets what it has inherited: no two processes
ever give the same id.
"""

from __future__ import annotations

import os
from binascii import b2a_base64

_AT_ONCE = 128
_URLSAFE = bytes.maketrans(b"+/", b"-_")
# By the size of what was cut from it. list.pop is atomic: threads may ask, too.
_stock: dict[int, list[bytes]] = {}


def token(size: int) -> str:
    """*size* random bytes in base64url, without padding."""
    stock = _stock.setdefault(size, [])
    try:
        chosen = stock.pop()
    except IndexError:
        fresh = os.urandom(size * _AT_ONCE)
        stock += [fresh[at : at + size] for at in range(0, len(fresh), size)]
        chosen = stock.pop()
    return b2a_base64(chosen, newline=False).rstrip(b"=").translate(_URLSAFE).decode()


os.register_at_fork(after_in_child=_stock.clear)
