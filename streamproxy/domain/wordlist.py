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
from collections.abc import Iterable, Iterator, Sequence
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
    """What may not be said. *longest* is in characters of the text as it is searched; *nfkc*: in that form.

    *patterns* are certain as soon as they match; *boundary_patterns* also look at the character behind.
    """

    patterns: regex.Pattern[str] | None
    boundary_patterns: regex.Pattern[str] | None
    longest: int
    nfkc: bool = True

    def first(self, text: str) -> int | None:
        """Where in *text* the first forbidden phrase begins; None when there is none."""
        searched, origins = self.searched(text)
        found = self.search(searched, last=True)
        return None if found is None else origins[found]

    def searched(self, text: str) -> tuple[str, Sequence[int]]:
        """*text* as it is searched, and for each of its characters, and the end, where in *text* it came from."""
        return normalised(text) if self.nfkc else (text, range(len(text) + 1))

    def search(self, searched: str, start: int = 0, *, last: bool) -> int | None:
        """Where the first phrase begins, at *start* or later.

        Unless this is the *last* of a text, one that more of it could undo does not count.
        """
        certain = _search(self.patterns, searched, start)
        bounded = _search(self.boundary_patterns, searched, start)
        if bounded is not None and not last and bounded[1] == len(searched):
            bounded = None
        return min((found[0] for found in (certain, bounded) if found is not None), default=None)


def _search(pattern: regex.Pattern[str] | None, text: str, start: int) -> tuple[int, int] | None:
    if pattern is None:
        return None
    patience = SEARCH_SECONDS + len(text) * SEARCH_SECONDS_A_CHARACTER
    try:
        match = pattern.search(text, start, timeout=patience, concurrent=len(text) > LONG_TEXT)
    except TimeoutError:
        log.error("moderation: the patterns take too long on a text of %d characters", len(text))  # noqa: TRY400
        return start, start
    return None if match is None else match.span()


class _Lines:
    """The patterns of a file, sorted by how they are searched."""

    def __init__(self) -> None:
        self.longest = 0
        self._words: list[str] = []
        self._regexes: list[str] = []
        self._bounded: list[str] = []

    def add(self, line: str, *, nfkc: bool) -> None:
        """ValueError says what is wrong with the *line*."""
        if not line.startswith("re:"):
            word = _word(line, nfkc=nfkc)
            self._words.append(word)
            self.longest = max(self.longest, len(word))
            return
        pattern = unicodedata.normalize("NFC", line[3:])
        longest, bounded = _reach(pattern)
        (self._bounded if bounded else self._regexes).append(pattern)
        self.longest = max(self.longest, longest)

    def parsed(self, *, nfkc: bool) -> WordList:
        if len(self._words) > MAX_WORDS or len(self._regexes) + len(self._bounded) > MAX_REGEXES:
            raise ConfigurationError(f"more than {MAX_WORDS} words or {MAX_REGEXES} regular expressions")
        certain = [*([_one_pattern(self._words)] if self._words else []), *self._regexes]
        return WordList(_compiled(certain), _compiled(self._bounded), self.longest, nfkc)


def parse_word_list(text: str, *, nfkc: bool = True) -> WordList | None:
    """Read the lines of *text*; None when they hold no pattern. ConfigurationError names the line at fault."""
    lines = _Lines()
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        try:
            lines.add(pattern, nfkc=nfkc)
        except ValueError as exc:
            raise ConfigurationError(f"line {number}: {exc}") from None
    return lines.parsed(nfkc=nfkc) if lines.longest else None


def _compiled(alternatives: Sequence[str]) -> regex.Pattern[str] | None:
    return regex.compile("|".join(f"(?:{one})" for one in alternatives), regex.IGNORECASE) if alternatives else None


def _word(text: str, *, nfkc: bool) -> str:
    word = unicodedata.normalize("NFKC", text) if nfkc else text
    if len(word) > LONGEST_MATCH:
        raise ValueError(f"the phrase has {len(word)} characters, {LONGEST_MATCH} are the most")
    return word


def _reach(pattern: str) -> tuple[int, bool]:
    """The length of the longest match of *pattern*, and whether the character behind it matters.

    ValueError when that is not known.
    """
    tree = _parsed(pattern)
    if tree.state.flags != re.compile("", re.IGNORECASE).flags or tree.state.groupdict:
        raise ValueError("flags for the whole pattern and names of groups are not known here: write (?s:...) or (...)")
    operations = set(_operations(tree))
    if operations & _UNKNOWN_REACH:
        raise ValueError("it looks at what is not part of the match; only \\b and \\B may, not (?=...), \\1, ^ or $")
    shortest, longest = tree.getwidth()
    if not shortest:
        raise ValueError("it matches nothing at all, and so everywhere")
    if longest > LONGEST_MATCH:
        raise ValueError(f"its longest match has no bound of {LONGEST_MATCH} characters: write {{1,20}} instead of +")
    regex.compile(f"(?:{pattern})", regex.IGNORECASE)
    return longest, "at" in operations


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
