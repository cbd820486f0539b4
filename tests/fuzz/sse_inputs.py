"""Event streams that no honest server sends: pieces of the grammar in any order, then bytes changed at random."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

ENDS: Final = (b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n")
NAMES: Final = (b"data", b"data", b"data", b"data", b"event", b"id", b"retry", b"", b"DATA", b" data", b"datax", b"x")
COLONS: Final = (b":", b": ", b": ", b":  ", b"", b" :", b"::", b":\t")
VALUES: Final = (
    *(b"", b"a", b"{}", b"[DONE]", b'{"choices":[{"delta":{"content":"hi"}}]}', b" x", b"0", b"3000", b"9" * 30, b"-1"),
    *(
        "你好".encode(),
        "😀".encode(),
        b"\xff",
        b"\xe4\xbd",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"a\0b",
        b"\xef\xbb\xbf",
    ),
    *("\u2028".encode(), "\u0085".encode(), b"\x0b\x0c\x1c", b"a: b", b"\xd9\xa3", b"x" * 300),
)
BOM: Final = b"\xef\xbb\xbf"
_BYTES: Final = b"\r\n: \0\xff\xef\xbb\xbfdataeventidretry0"


def stream(random: Random) -> bytes:
    """One stream of up to about a dozen lines."""
    parts = [random.choice((b"", b"", b"", BOM, BOM + BOM, BOM[:2], b"\n", b"\r"))]
    for _ in range(random.randrange(1, 12)):
        parts += (random.choice(NAMES), random.choice(COLONS), random.choice(VALUES), random.choice(ENDS))
    whole = bytearray(b"".join(parts))
    for _ in range(random.choice((0, 0, 0, 1, 2, 5))):
        place = random.randrange(len(whole) + 1)
        change = random.randrange(3)
        if change == 0:
            whole[place:place] = bytes([random.choice(_BYTES)])
        elif change == 1:
            del whole[place : place + random.randrange(1, 4)]
        elif whole:
            whole[place % len(whole)] = random.randrange(256)
    return bytes(whole)


def cut(random: Random, whole: bytes) -> Sequence[bytes]:
    """*whole* in pieces: byte by byte, in two, in several, with empty ones among them."""
    style = random.randrange(4)
    if style == 0:
        return [whole[i : i + 1] for i in range(len(whole))]
    places = sorted(random.randrange(len(whole) + 1) for _ in range(style * style))
    return [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
