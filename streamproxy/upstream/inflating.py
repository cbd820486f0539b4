"""Bodies that come packed although ``identity`` was asked for."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable

from streamproxy.upstream.failures import disconnected, malformed

ENCODINGS_WE_READ = frozenset({"", "identity", "gzip", "deflate"})
# A bomb of 200 MB in 200 kB comes out in pieces of this many bytes, each when it is asked for.
LARGEST_PIECE = 1 << 18


class Inflated:
    """Unpacks the batches of one body."""

    def __init__(self, encoding: str) -> None:
        # 32: the header says whether it is gzip or zlib, which is what "deflate" means (RFC 9110, 8.4.1.2).
        self._inflate = zlib.decompressobj(32 + zlib.MAX_WBITS if encoding == "gzip" else zlib.MAX_WBITS)
        self._packed = b""

    async def batch(self, packed: Callable[[], Awaitable[bytes]]) -> bytes:
        """The next piece, ``b""`` at the end; *packed* gives the next packed ones. UpstreamError when it is cut."""
        while True:
            if not self._packed and not self._inflate.eof:
                self._packed = await packed()
                if not self._packed:
                    raise disconnected()
            try:
                piece = self._inflate.decompress(self._packed, LARGEST_PIECE)
            except zlib.error as exc:
                raise malformed() from exc
            self._packed = self._inflate.unconsumed_tail
            if piece:
                return piece
            if self._inflate.eof:
                return b""
