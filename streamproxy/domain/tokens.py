"""Counting tokens, as Protocols: who needs a count need not know tiktoken.

The arithmetic of chat prompts is OpenAI's own. Where a part's size cannot be known from here (pictures,
sound, files) a fixed price stands in. Messages of any shape are counted; nothing here raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from operator import methodcaller
from typing import Protocol, TypeVar

from streamproxy.domain.sessions import Message

T = TypeVar("T")

_role_of, _content_of = methodcaller("get", "role"), methodcaller("get", "content")


class TokenCounter(Protocol):
    """Counts the tokens of one model's encoding.

    Pure CPU work: a long text belongs off the loop (see ``TokenCounters.off_loop``).
    """

    def count(self, text: str) -> int:
        """Tokens of *text*; special-token spellings in it are counted as ordinary text."""

    def cut_middle(self, text: str, budget: int) -> str:
        """Head ⌈budget/2⌉ and tail ⌊budget/2⌋ tokens of *text*, at UTF-8 boundaries, never over *budget*."""


class TextsCounter(TokenCounter, Protocol):
    """Counts many texts, of which most may have been counted before."""

    def counts(self, texts: Sequence[str]) -> Sequence[int]:
        """Tokens of each of *texts*."""


class TokenCounters(Protocol):
    """Finds the counter of a model, and the place where it may count."""

    async def counter(self, model: str) -> TextsCounter:
        """The counter for *model*; loads its encoding off the loop the first time. Never raises."""

    async def size(self, model: str, messages: Sequence[Message]) -> int:
        """Tokens that *messages* cost inside a prompt of *model*, counted off the loop where they are long."""

    async def off_loop(self, subject: str | Sequence[Message] | int, work: Callable[[], T]) -> T:
        """What *work* returns: done in a thread when *subject*, which it counts, is long, else at once.

        A number is that of the characters that will be counted.
        """


# OpenAI's own arithmetic for chat prompts: every message is wrapped in 3 tokens, its role is one more, a name
# costs one beside its text, and the reply is primed with 3.
# https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken
TOKENS_PER_MESSAGE = 3
TOKENS_PER_ROLE = 1
TOKENS_PER_NAME = 1
TOKENS_FOR_REPLY = 3
# A picture part without known size: 765 is what OpenAI bills for a 1024 x 1024 picture in high detail.
TOKENS_PER_PICTURE = 765


# A text longer than this is sampled where its size only has to be known about: what was said is in the ledger as
# estimated and in the session as a turn to be trimmed. Counting 50 kB takes 2 to 5 ms, for nobody's use.
SAMPLED_CHARACTERS = 20_000
_SAMPLES = 8
_SAMPLE_CHARACTERS = 1024
# Rather too many than too few: the samples' own ends cost a token or two, and texts are not the same all through.
_CAUTION = 1.02


class SamplingCounter:
    """Counts exactly up to ``SAMPLED_CHARACTERS``; of a longer text eight pieces stand for the whole."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter

    def count(self, text: str) -> int:
        if len(text) <= SAMPLED_CHARACTERS:
            return self._counter.count(text)
        step = (len(text) - _SAMPLE_CHARACTERS) // (_SAMPLES - 1)
        pieces = (text[n * step : n * step + _SAMPLE_CHARACTERS] for n in range(_SAMPLES))
        sampled = sum(self._counter.count(piece) for piece in pieces)
        return math.ceil(_CAUTION * sampled * len(text) / (_SAMPLES * _SAMPLE_CHARACTERS))

    def cut_middle(self, text: str, budget: int) -> str:
        """Exactly: what is sent must fit."""
        return self._counter.cut_middle(text, budget)


def sampled_length(texts: Iterable[str]) -> int:
    """Characters that a ``SamplingCounter`` looks at."""
    return sum(len(text) if len(text) <= SAMPLED_CHARACTERS else _SAMPLES * _SAMPLE_CHARACTERS for text in texts)


def message_text(message: Message) -> str:
    """All text of a message that a model reads: content, text parts, tool calls, refusal, name."""
    only = _only_text(message)
    return only if only is not None else "\n".join(_texts(message))


def text_length(messages: Sequence[Message]) -> int:
    """Characters of all text in *messages*: what counting them costs, known without counting."""
    texts = only_texts(messages)
    return sum(map(len, (text for message in messages for text in _texts(message)) if texts is None else texts))


def count_message(message: Message, counter: TokenCounter) -> int:
    """Tokens that *message* costs inside a prompt."""
    only = _only_text(message)
    if only is not None:
        return TOKENS_PER_MESSAGE + TOKENS_PER_ROLE + counter.count(only)
    name = TOKENS_PER_NAME if isinstance(message.get("name"), str) else 0
    pictures = sum(1 for part in _parts(message) if not _part_text(part))
    return (
        TOKENS_PER_MESSAGE
        + TOKENS_PER_ROLE
        + name
        + sum(counter.count(text) for text in _texts(message))
        + pictures * TOKENS_PER_PICTURE
    )


def messages_size(messages: Sequence[Message], counter: TextsCounter) -> int:
    """Tokens that *messages* cost inside a prompt."""
    texts = only_texts(messages)
    return sum(count_message(m, counter) for m in messages) if texts is None else texts_size(texts, counter)


def texts_size(texts: Sequence[str], counter: TextsCounter) -> int:
    """Tokens that messages of a role and one of *texts* each cost inside a prompt."""
    return (TOKENS_PER_MESSAGE + TOKENS_PER_ROLE) * len(texts) + sum(counter.counts(texts))


def count_messages(messages: Iterable[Message], counter: TokenCounter) -> int:
    """Tokens of a whole prompt, the priming of the reply included."""
    return TOKENS_FOR_REPLY + sum(count_message(m, counter) for m in messages)


def _only_text(message: Message) -> str | None:
    """The content of a message of role and text and nothing else, as nearly all are."""
    if len(message) != 2 or "role" not in message or "content" not in message:
        return None
    content = message["content"]
    return content if type(content) is str else None


def only_texts(messages: Sequence[Message]) -> Sequence[str] | None:
    """The texts of messages of role and text and nothing else, None where one is more than that.

    Told in C, for conversations may be long.
    """
    texts = [*map(_content_of, messages)]
    plain = {*map(len, messages)} == {2} and {*map(type, texts)} == {str} and None not in map(_role_of, messages)
    return texts if plain else None


def _texts(message: Message) -> Iterable[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    for part in _parts(message):
        yield from _part_text(part)
    for function in _called(message):
        yield f"{function.get('name', '')}{function.get('arguments', '')}"
    for field in ("refusal", "name"):
        value = message.get(field)
        if isinstance(value, str):
            yield value


def _parts(message: Message) -> Iterable[Message]:
    content = message.get("content")
    return (part for part in content if isinstance(part, dict)) if isinstance(content, list) else ()


def _part_text(part: Message) -> tuple[str, ...]:
    return tuple(value for field in ("text", "refusal") if isinstance(value := part.get(field), str))


def _called(message: Message) -> Iterable[Message]:
    """The functions that an assistant message calls, the older ``function_call`` field included."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict) and isinstance(call.get("function"), dict):
            yield call["function"]
    if isinstance(message.get("function_call"), dict):
        yield message["function_call"]
