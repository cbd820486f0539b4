"""NFKC with the way back: the same text as Unicode says, and every character from where it came."""

from __future__ import annotations

import itertools
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from streamproxy.domain.nfkc import MOST_MARKS, normalised

# Letters, marks, ligatures, full and half width, jamo, kana with and without their marks.
CHARACTERS = st.sampled_from(
    "aAe1 \u0301\u0316\u0327ﬁＡ①ｶﾞ\uff9e각\u1100\u1161\u11a8ᄀ가\u3099か\u09c7\u09beé½Å"
) | st.characters(exclude_categories=["Cs"])
TEXTS = st.text(CHARACTERS, max_size=MOST_MARKS)


@given(TEXTS)
@example("가\u11a8")
@example("\u09c7\u09be")
@example("ｶ\uff9e")
def test_it_is_what_unicode_says(text: str) -> None:
    assert normalised(text)[0] == unicodedata.normalize("NFKC", text)


@given(TEXTS)
def test_every_character_knows_where_it_began(text: str) -> None:
    """What stands before an origin makes what stands before the character, and nothing else."""
    composed, origins = normalised(text)
    assert len(origins) == len(composed) + 1
    assert origins[-1] == len(text)
    for at, origin in enumerate(origins):
        begun = next(i for i, other in enumerate(origins) if other == origin)
        assert unicodedata.normalize("NFKC", text[:origin]) == composed[:begun]
        assert begun <= at


def test_a_letter_under_endless_marks_is_read_in_pieces() -> None:
    _, origins = normalised("e" + "\u0301" * 1000)
    assert max(later - earlier for earlier, later in itertools.pairwise(origins)) <= MOST_MARKS + 1
