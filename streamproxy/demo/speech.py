"""What the demo model needs to know of a language to answer in it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """Something the demo model has a text about, and the words that call for it."""

    title: str
    asked: re.Pattern[str]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """One language. Patterns tell what a message wants; in texts, ``{…}`` is filled in.

    *topics* are in order of precedence. *tells_name* has the name as its group 1.
    """

    topics: tuple[Topic, ...]
    no_answer: str

    tells_name: re.Pattern[str]
    asks_name: re.Pattern[str]
    asks_earlier: re.Pattern[str]
    asks_to_go_on: re.Pattern[str]

    pleased: str
    your_name: str
    no_name: str
    said_earlier: str
    nothing_earlier: str
    gone_on: str

    no_tools: str
    no_pictures: str
    other_model: str
    everything: str
    quote: str
    footer: str
    footer_earlier: str


def topic(title: str, asked: str, text: str) -> Topic:
    """A topic whose pattern *asked* is matched anywhere, whatever the case."""
    return Topic(title, re.compile(asked, re.IGNORECASE), text.strip())
