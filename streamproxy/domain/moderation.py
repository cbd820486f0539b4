"""How much of a text that is still being written may be shown.

A ``Window`` holds back as many characters as the longest pattern has, so that a phrase is seen whole before its
first character is shown, however the text was cut into pieces.
"""

from __future__ import annotations

from streamproxy.domain.wordlist import WordList


class Window:
    """One growing text. *safe* counts its characters that may be shown; *found* is where they end for good."""

    def __init__(self, words: WordList) -> None:
        self.size = 0
        self.safe = 0
        self.found: int | None = None
        self._words = words
        # What is still looked at: from here on, a few characters before the first that is not safe.
        self._begin = 0
        self._text = ""

    def add(self, text: str) -> None:
        """More of the text has come. Once something was found nothing more is looked at."""
        self.size += len(text)
        self._text += text

    def look(self, *, last: bool = False) -> None:
        """Find out how much may be shown; all of it when this was the *last* of the text and nothing is found.

        Should a text go on after its last piece all the same, a phrase that began before is still found; only
        its beginning was shown by then.
        """
        if self.found is not None:
            return
        searched, origins = self._words.searched(self._text)
        # The character before what was once shown only says whether a word begins behind it.
        found = self._words.search(searched, 1 if self._begin else 0, last=last)
        if found is not None:
            self.found = self.safe = max(self._begin + origins[found], self.safe)
            return
        safe = len(searched) if last else max(len(searched) - self._words.longest, 0)
        self.safe = max(self._begin + origins[safe], self.safe)
        kept = origins[max(safe - self._words.longest - 1, 0)]
        self._begin += kept
        self._text = self._text[kept:]
