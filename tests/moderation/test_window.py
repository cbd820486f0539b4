"""The rolling window: whatever the cuts, no phrase is shown, and nothing but the phrase is withheld."""

from __future__ import annotations

import unicodedata
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamproxy.domain.moderation import Window
from streamproxy.domain.wordlist import WordList, parse_word_list

LINES = st.lists(
    st.text("abc", min_size=1, max_size=6)
    | st.sampled_from(
        [r"re:\bab\b", r"re:a[bc]{1,3}c", r"re:b\Ba", "re:(?:ab|b)c", r"re:\bc", "é", "ﬁb", "re:a.{0,5}c"]
    ),
    min_size=1,
    max_size=4,
)
TEXTS = st.text("aabbcc ABé\u0301eﬁＡfi.", max_size=60)
PLAIN_TEXTS = st.text("aabbcc .", max_size=60)


def listed(lines: list[str]) -> WordList:
    words = parse_word_list("\n".join(lines))
    assert words is not None
    return words


def beginnings(words: WordList, text: str, *, last: bool = True) -> dict[int, int]:
    """Where phrases begin in *text*, and where the first of each ends."""
    searched, origins = words.searched(text)
    patterns = [words.patterns, words.boundary_patterns if last else None]
    found = [m.span() for pattern in patterns if pattern for m in pattern.finditer(searched, overlapped=True)]
    # A letter and its marks are shown together.
    ends = [min(origin for origin in origins if origin > origins[end - 1]) for _, end in found]
    return {origins[begin]: end for (begin, _), end in sorted(zip(found, ends, strict=True), reverse=True)}


@st.composite
def cut_texts(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> list[str]:
    """A text in pieces."""
    text = draw(texts)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=12)) | {0, len(text)})
    return [text[a:b] for a, b in pairwise(cuts)]


@given(lines=LINES, pieces=cut_texts())
def test_what_is_shown_is_the_text_up_to_the_first_phrase(lines: list[str], pieces: list[str]) -> None:
    """However it was cut: nothing of the phrase, all of what stands before it, never taken back.

    Of phrases that overlap the one that is complete first may end the text.
    """
    words, text = listed(lines), "".join(pieces)
    window, shown = Window(words), 0
    for piece in pieces:
        window.add(piece)
        window.look()
        assert shown <= window.safe <= window.size
        shown = window.safe
    window.look(last=True)
    begins = beginnings(words, text)
    # What is a phrase now counts, also when a mark that follows makes another letter of its last.
    for end in accumulate(map(len, pieces)):
        certain = beginnings(words, text[:end], last=False)
        begins |= {begin: stop for begin, stop in certain.items() if begin not in begins}
    assert window.safe in (begins or {len(text)})
    assert all(end > window.safe for end in begins.values())
    assert shown <= window.safe
    assert window.found == (window.safe if begins else None)


@given(lines=LINES, pieces=cut_texts(PLAIN_TEXTS))
def test_no_more_is_held_back_than_the_longest_pattern_has(lines: list[str], pieces: list[str]) -> None:
    words = listed(lines)
    window = Window(words)
    for piece in pieces:
        window.add(piece)
        window.look()
        assert window.found is not None or window.size - window.safe <= words.longest


@given(lines=st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=4), pieces=cut_texts())
def test_a_text_that_goes_on_after_its_last_piece_still_shows_no_whole_phrase(
    lines: list[str], pieces: list[str]
) -> None:
    words = listed(lines)
    window = Window(words)
    for piece in pieces:
        window.add(piece)
        window.look(last=True)
    assert words.first("".join(pieces)[: window.safe]) is None


def test_a_composed_letter_is_not_shown_before_it_is_complete() -> None:
    words = listed(["é"])
    window = Window(words)
    for piece in ("caf", "e", "\u0301"):
        window.add(piece)
        window.look()
    window.look(last=True)
    assert unicodedata.normalize("NFC", "cafe\u0301"[: window.safe]) == "caf"


def test_a_long_text_is_not_kept() -> None:
    """What is looked at again does not grow with the answer."""
    window = Window(listed(["bomb"]))
    for _ in range(1000):
        window.add("word " * 10)
        window.look()
    assert window.safe == 50_000 - 4
    assert len(window._text) < 20
