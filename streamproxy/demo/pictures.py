"""Pictures that nobody painted: a gradient in colours drawn from the prompt, as PNG.

https://www.w3.org/TR/png-3/: one palette, eight bits a pixel, no filter. Rows are slices of one ramp, so a
picture costs a copy a row and packs to a few kilobytes.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from itertools import pairwise

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PALETTE = 256
_INDEXED = 3
_STEPS = 85


def picture(prompt: str, number: int, *, width: int, height: int) -> bytes:
    """The PNG for *prompt*; another *number* is another picture. Always the same for the same."""
    seed = hashlib.sha256(f"{number} {prompt}".encode()).digest()
    header = struct.pack(">IIBBBBB", width, height, 8, _INDEXED, 0, 0, 0)
    return b"".join(
        (
            SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", _palette(seed)),
            _chunk(b"IDAT", _pixels(width, height)),
            _chunk(b"IEND", b""),
        )
    )


def _palette(seed: bytes) -> bytes:
    """256 colours from one of four to the next."""
    corners = [seed[at : at + 3] for at in range(0, 12, 3)]
    steps = [
        bytes(a + (b - a) * step // _STEPS for a, b in zip(before, after, strict=True))
        for before, after in pairwise(corners)
        for step in range(_STEPS)
    ]
    return b"".join([*steps, corners[-1]])


def _pixels(width: int, height: int) -> bytes:
    """A diagonal: each row is the one above, one pixel further along the ramp."""
    last = width + height - 2 or 1
    ramp = bytes(at * (_PALETTE - 1) // last for at in range(width + height - 1))
    packer = zlib.compressobj(6)
    rows = [packer.compress(b"\x00" + ramp[y : y + width]) for y in range(height)]
    return b"".join([*rows, packer.flush()])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
