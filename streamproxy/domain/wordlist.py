"""A list of forbidden phrases, and the search for the first of them in a text.

The file has one pattern a line: a word or phrase as it is, ``re:`` and a regular expression, or ``#`` and a
comment. Upper and lower case are one; words are found inside others, ``re:\\bword\\b`` finds them alone.

A regular expression is refused unless it is known how long its longest match is: a streamed answer is held back
by that much, so nothing in it may look further. A search that takes too long counts as found: what cannot be
looked through is not shown.
"""

from __future__ import annotations

import logging
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from re import _constants, _parser  # type: ignore[attr-defined]  # what hypothesis, too, reads patterns with
from typing import Any

import regex

from streamproxy.domain.nfkc import normalised
from streamproxy.errors import ConfigurationError

log = logging.getLogger(__name__)

# A phrase; a streamed answer is always this many characters late.
LONGEST_MATCH = 128
MAX_WORDS = 20_000
# Each costs its own attempt at every character, words all together cost one.
MAX_REGEXES = 500
# A thousand characters take about a millisecond with ten thousand words.
SEARCH_SECONDS = 0.1
SEARCH_SECONDS_A_CHARACTER = 20e-6
# Longer texts are searched without the interpreter's lock, so that a thread can do it beside others.
LONG_TEXT = 1 << 14

_UNKNOWN_REACH = frozenset({"assert", "assert_not", "groupref", "groupref_exists"})
# Where a word ends, among the characters that go on from it.
_END = ""
_BOUNDARIES = frozenset({_constants.AT_BOUNDARY, _constants.AT_NON_BOUNDARY})
# The regex module reads other braces than those of a repetition as "nearly this".
_OTHER_BRACE = re.compile(r"\{(?!\d*,?\d*\})")


@dataclass(frozen=True, slots=True)
class WordList:
    """What may not be said. *longest* is in characters of the text as it is searched; *nfkc*: in that form."""

    pattern: regex.Pattern[str]
    longest: int
    nfkc: bool = True

    def first(self, text: str) -> int | None:
        """Where in *text* the first forbidden phrase begins; None when there is none."""
        searched, origins = self.searched(text)
        found = self.search(searched)
        return None if found is None else origins[found[0]]

    def searched(self, text: str) -> tuple[str, Any]:
        """*text* as it is searched, and for each of its characters, and the end, where in *text* it came from."""
        return normalised(text) if self.nfkc else (text, range(len(text) + 1))

    def search(self, searched: str, start: int = 0) -> tuple[int, int] | None:
        """Beginning and end of the first phrase at *start* or later."""
        patience = SEARCH_SECONDS + len(searched) * SEARCH_SECONDS_A_CHARACTER
        try:
            match = self.pattern.search(searched, start, timeout=patience, concurrent=len(searched) > LONG_TEXT)
        except TimeoutError:
            log.error("moderation: the patterns take too long on a text of %d characters", len(searched))  # noqa: TRY400
            return start, start
        return None if match is None else match.span()


def parse_word_list(text: str, *, nfkc: bool = True) -> WordList | None:
    """Read the lines of *text*; None when they hold no pattern. ConfigurationError names the line at fault."""
    words: list[str] = []
    regexes: list[str] = []
    longest = 0
    for number, line in enumerate(text.splitlines(), 1):
        pattern = line.strip().removeprefix("\ufeff")
        if not pattern or pattern.startswith("#"):
            continue
        is_regex = pattern.startswith("re:")
        try:
            kept, width = _regex(pattern[3:]) if is_regex else _word(pattern, nfkc=nfkc)
        except ValueError as exc:
            raise ConfigurationError(f"line {number}: {exc}") from None
        (regexes if is_regex else words).append(kept)
        longest = max(longest, width)
    if len(words) > MAX_WORDS or len(regexes) > MAX_REGEXES:
        raise ConfigurationError(f"more than {MAX_WORDS} words or {MAX_REGEXES} regular expressions")
    if not longest:
        return None
    alternatives = [*([_one_pattern(words)] if words else []), *regexes]
    return WordList(regex.compile("|".join(f"(?:{one})" for one in alternatives), regex.IGNORECASE), longest, nfkc)


def _word(text: str, *, nfkc: bool) -> tuple[str, int]:
    word = unicodedata.normalize("NFKC", text) if nfkc else text
    if len(word) > LONGEST_MATCH:
        raise ValueError(f"the phrase has {len(word)} characters, {LONGEST_MATCH} are the most")
    return word, len(word)


def _regex(pattern: str) -> tuple[str, int]:
    """*pattern* and the length of its longest match; ValueError when that is not known."""
    pattern = unicodedata.normalize("NFC", pattern)
    tree = _parsed(pattern)
    if tree.state.flags != re.compile("", re.IGNORECASE).flags or tree.state.groupdict:
        raise ValueError("flags for the whole pattern and names of groups are not known here: write (?s:...) or (...)")
    if any(name in _UNKNOWN_REACH for name in _operations(tree)):
        raise ValueError("it looks at what is not part of the match; only \\b and \\B may, not (?=...), \\1, ^ or $")
    shortest, longest = tree.getwidth()
    if not shortest:
        raise ValueError("it matches nothing at all, and so everywhere")
    if longest > LONGEST_MATCH:
        raise ValueError(f"its longest match has no bound of {LONGEST_MATCH} characters: write {{1,20}} instead of +")
    regex.compile(f"(?:{pattern})", regex.IGNORECASE)
    return pattern, longest


def _parsed(pattern: str) -> Any:
    try:
        with warnings.catch_warnings():
            # What Python calls ambiguous ("possible nested set") the regex module reads its own way.
            warnings.simplefilter("error")
            tree = _parser.parse(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError, Warning) as exc:
        raise ValueError(f"no regular expression: {exc}") from None
    if _OTHER_BRACE.search(re.sub(r"\\.", "", pattern, flags=re.DOTALL)):
        raise ValueError("a { that repeats nothing must be written \\{")
    return tree


def _operations(tree: Any) -> Iterator[str]:
    """The names of all operations in a parsed pattern; those of anchors other than word boundaries as ``assert``."""
    for part in tree:
        if isinstance(part, tuple) and part and part[0] is _constants.AT:
            yield "at" if part[1] in _BOUNDARIES else "assert"
        elif isinstance(part, (tuple, list, _parser.SubPattern)):
            yield from _operations(part)
        elif isinstance(part, _constants._NamedIntConstant):
            yield part.name.lower()


def _one_pattern(words: Iterable[str]) -> str:
    """All *words* as one pattern that reads each character once: common beginnings stand there once."""
    root: dict[str, Any] = {}
    for word in words:
        node = root
        for character in word:
            node = node.setdefault(character, {})
        node[_END] = {}
    return _spelled(root)


def _spelled(node: dict[str, Any]) -> str:
    text = []
    while len(node) == 1 and _END not in node:
        [(character, node)] = node.items()
        text.append(regex.escape(character, special_only=True))
    if _END in node:
        # Whoever says a longer word says this one too.
        return "".join(text)
    branches = "|".join(
        regex.escape(character, special_only=True) + _spelled(after) for character, after in node.items()
    )
    return "".join(text) + (f"(?:{branches})" if branches else "")
