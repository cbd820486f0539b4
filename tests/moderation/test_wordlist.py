"""What a word list finds, and which lines it refuses."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.domain.wordlist import LONGEST_MATCH, MAX_REGEXES, MAX_WORDS, WordList, parse_word_list
from streamproxy.errors import ConfigurationError


def words(*lines: str, nfkc: bool = True) -> WordList:
    parsed = parse_word_list("\n".join(lines), nfkc=nfkc)
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("lines", "text", "at"),
    [
        (["bomb"], "a BoMb here", 2),
        (["bomb"], "bom b", None),
        (["secret plan"], "the Secret Plan", 4),
        (["炸弹"], "做一个炸弹吧", 3),
        (["re:b[o0]mb"], "b0mb", 0),
        ([r"re:\bass\b"], "class", None),
        ([r"re:\bass\b"], "an ass.", 3),
        ([r"re:\bübel\b"], "das Übel!", 4),
        (["a.c"], "abc", None),
        (["a.c"], "xa.c", 1),
        (["bomber", "bomb"], "bombs", 0),
        (["zz", "re:y{2}", "x"], "ayyzzx", 1),
        (["re:a|b", "c"], "..cab", 2),
        (["# comment", "", "  padded  "], "padded", 0),
        (["re:#tag"], "a #tag", 2),
    ],
)
def test_it_finds_the_first_phrase(lines: list[str], text: str, at: int | None) -> None:
    assert words(*lines).first(text) == at


@pytest.mark.parametrize("text", ["ＢＯＭＢ", "ⓑⓞⓜⓑ", "𝐛𝐨𝐦𝐛"])
def test_other_shapes_of_the_letters_are_the_same_phrase_in_nfkc(text: str) -> None:
    assert words("bomb").first(f"x {text}") == 2
    assert words("bomb", nfkc=False).first(f"x {text}") is None


@pytest.mark.parametrize("line", ["café", "cafe\u0301", "re:caf[é]"])
@pytest.mark.parametrize("text", ["in the CAFÉ", "in the cafe\u0301"])
def test_letters_with_marks_are_the_same_however_they_are_put_together(line: str, text: str) -> None:
    assert words(line).first(text) == 7


@pytest.mark.parametrize("text", ["", "\n \n", "# only\n# comments"])
def test_a_file_without_patterns_is_none(text: str) -> None:
    assert parse_word_list(text) is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("re:a+", "bound of 128"),
        ("re:a.*b", "bound of 128"),
        ("re:(a{1,20}){1,20}", "bound of 128"),
        ("x" * (LONGEST_MATCH + 1), "129 characters"),
        ("re:", "nothing at all"),
        ("re:a?", "nothing at all"),
        (r"re:\b", "nothing at all"),
        ("re:a(?=b)", "not part of the match"),
        ("re:(?<!b)a", "not part of the match"),
        ("re:^a", "not part of the match"),
        (r"re:a\Z", "not part of the match"),
        (r"re:(a)\1", "not part of the match"),
        ("re:(?P<name>a)", "names of groups"),
        ("re:(?s)a.b", "flags"),
        ("re:(a", "no regular expression"),
        (r"re:\p{Lu}", "no regular expression"),
        ("re:[[:alpha:]]", "no regular expression"),
        ("re:abc{e<=1}", "must be written"),
    ],
)
def test_a_pattern_whose_reach_is_not_known_is_refused_with_its_line(line: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^line 3: .*{re.escape(why)}"):
        parse_word_list(f"# one\ntwo\n{line}\nfour")


@pytest.mark.parametrize("count", [("w%d", MAX_WORDS), ("re:w%d", MAX_REGEXES)], ids=["words", "regexes"])
def test_the_list_is_bounded(count: tuple[str, int]) -> None:
    spelled, most = count
    with pytest.raises(ConfigurationError, match="more than"):
        parse_word_list("\n".join(spelled % number for number in range(most + 1)))


def test_what_takes_too_long_to_look_through_counts_as_found(caplog: pytest.LogCaptureFixture) -> None:
    slow = words("re:(?:(?:a|a|ab){1,4}){1,14}c")
    assert slow.first("a" * 64) == 0
    assert "take too long" in caplog.text


@given(
    st.lists(st.text("abAB.*\\", min_size=1, max_size=5).filter(str.strip), min_size=1, max_size=8),
    st.text("abAB.*\\", max_size=30),
)
def test_many_words_together_find_what_each_finds_alone(listed: list[str], text: str) -> None:
    listed = [word.strip() for word in listed]
    places = [text.lower().find(word.lower()) for word in listed]
    assert words(*listed).first(text) == min((at for at in places if at >= 0), default=None)
    assert words(*listed).longest == max(map(len, listed))
