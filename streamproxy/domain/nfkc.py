"""Unicode's compatibility form (NFKC) of a text, with the way back to where each character came from.

Full-width letters, ligatures and letters put together from pieces become what they look like, so that a phrase
is one phrase however it is written. https://www.unicode.org/reports/tr15/
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain

# UAX 15, 13 (stream-safe text): nobody writes thirty marks on one letter, and a text of marks alone must not be
# looked at again and again as a whole.
MOST_MARKS = 30
_HANGUL_VOWELS_AND_TAILS = (range(0x1161, 0x1176), range(0x11A8, 0x11C3))
# No code point beyond has a decomposition into a pair.
_LAST_PAIR = 0x20000


def normalised(text: str) -> tuple[str, Sequence[int]]:
    """*text* in NFKC, and for each of its characters, and the end, where in *text* what it is made of begins."""
    if unicodedata.is_normalized("NFKC", text):
        return text, range(len(text) + 1)
    pieces: list[str] = []
    origins: list[int] = []
    for start, piece in _pieces(text):
        composed = unicodedata.normalize("NFKC", piece)
        pieces.append(composed)
        origins += [start] * len(composed)
    return "".join(pieces), [*origins, len(text)]


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """*text* cut where no character can be changed by what stands on the other side of the cut."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not _joins(text[at]) or at - start > MOST_MARKS:
            yield start, text[start:at]
            start = at


def _joins(character: str) -> bool:
    """Whether *character* may become one with the character before it."""
    if character.isascii():
        return False
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.combining(first) != 0 or first in _composing()


@cache
def _composing() -> frozenset[str]:
    """The characters that are no marks and yet second in a canonical composition."""
    decompositions = (unicodedata.decomposition(chr(code)).split() for code in range(_LAST_PAIR))
    seconds = {chr(int(pair[1], 16)) for pair in decompositions if len(pair) == 2 and not pair[0].startswith("<")}
    jamo = map(chr, chain(*_HANGUL_VOWELS_AND_TAILS))
    return frozenset(chain((second for second in seconds if unicodedata.combining(second) == 0), jamo))
