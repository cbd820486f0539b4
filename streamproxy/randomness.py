"""Random ids, unguessable like those of ``secrets``, without a system call for each.

The kernel's bytes are fetched for many ids at once. A forked process forgets what it has inherited: no two processes
ever give the same id.
"""

from __future__ import annotations

import os
import string
from binascii import b2a_base64
from functools import lru_cache

_AT_ONCE = 128
_URLSAFE = bytes.maketrans(b"+/", b"-_")
_BASE64 = f"{string.ascii_uppercase}{string.ascii_lowercase}{string.digits}+/".encode()
# The characters of base64url in the order of their bytes: what is encoded so sorts as what it encodes.
_SORTED = bytes.maketrans(_BASE64, bytes(sorted(_BASE64.translate(_URLSAFE))))
_SIGNS = sorted(_BASE64.translate(_URLSAFE).decode())
# Twelve bits each, in their order.
_PAIRS = [first + second for first in _SIGNS for second in _SIGNS]
# Ids by their size in bytes. list.pop is atomic: threads may ask, too.
_stock: dict[int, list[str]] = {}


def token(size: int) -> str:
    """*size* random bytes in base64url, without padding."""
    try:
        return _stock[size].pop()
    except LookupError:
        return _fresh(size)


def timed_token(milliseconds: int) -> str:
    """22 characters of base64url's alphabet: 48 bits of time, *milliseconds* since the epoch, and 80 random ones.

    As in UUIDs of version 7 (RFC 9562, section 5.7), and for their reason: a later one sorts behind an earlier one,
    byte by byte, so that an index of millions of them grows at its end and not on a page of its own for each.
    """
    return f"{_since(milliseconds >> 12)}{_PAIRS[milliseconds & 4095]}{token(10)}"


@lru_cache(maxsize=8)
def _since(four_seconds: int) -> str:
    """36 bits in six characters that sort as they do."""
    return _encoded(four_seconds.to_bytes(6, "big"), _SORTED)[2:]


def _fresh(size: int) -> str:
    """One id; others of its kind are kept for whoever asks next."""
    fresh = os.urandom(size * _AT_ONCE)
    ids = [_encoded(fresh[at : at + size], _URLSAFE) for at in range(0, len(fresh), size)]
    one = ids.pop()
    _stock.setdefault(size, []).extend(ids)
    return one


def _encoded(data: bytes, alphabet: bytes) -> str:
    return b2a_base64(data, newline=False).rstrip(b"=").translate(alphabet).decode()


os.register_at_fork(after_in_child=_stock.clear)
