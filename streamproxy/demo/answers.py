"""What the demo model answers: a prepared text found by keywords, and what it can see of the conversation.

Every answer says that it comes from no language model, which message of the conversation it answers and
what was said before, so that one can see sessions work, cross or end. Messages of any shape get an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamproxy.demo.chinese import CHINESE
from streamproxy.demo.english import ENGLISH
from streamproxy.demo.models import MODELS, DemoModel
from streamproxy.demo.speech import Speech
from streamproxy.wire.chat import ChatRequest, Message

_CHINESE = re.compile(r"[\u3400-\u9fff]")
# Enough to recognise what was said; an answer that quoted it all would grow with every turn.
QUOTED_MESSAGES = 3
QUOTED_LETTERS = 120
# Keywords are looked for in this much of a message.
READ_LETTERS = 2000


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a request shows of its conversation: the user's texts and the last answer before the question."""

    earlier: tuple[str, ...]
    question: str
    last_answer: str

    @classmethod
    def read(cls, messages: Sequence[Message]) -> Conversation:
        said = [_text(m) for m in messages if m.get("role") == "user"]
        answers = [text for m in messages if m.get("role") == "assistant" and (text := _text(m))]
        return cls(tuple(said[:-1]), said[-1] if said else "", answers[-1] if answers else "")


def answer(request: ChatRequest, model: DemoModel) -> str:
    """The whole answer to *request*, as Markdown."""
    conversation = Conversation.read(request.messages)
    speech = CHINESE if _CHINESE.search(conversation.question) else ENGLISH
    paragraphs = [*_notes(request, speech)]
    if model.everything:
        paragraphs += [speech.everything, *(f"## {topic.title}\n\n{topic.text}" for topic in speech.topics)]
    else:
        paragraphs.append(_reply(conversation, speech))
    return "\n\n".join([*paragraphs, "---", _footer(conversation, speech)])


def _notes(request: ChatRequest, speech: Speech) -> Iterator[str]:
    """What has to be said first, lest anybody takes silence for an answer."""
    if request.model not in MODELS:
        yield speech.other_model.format(model=request.model)
    if request.fields.get("tools") or request.fields.get("functions"):
        yield speech.no_tools
    parts = request.messages[-1].get("content")
    if isinstance(parts, list) and any("text" not in part for part in parts):
        yield speech.no_pictures


def _reply(conversation: Conversation, speech: Speech) -> str:
    question = conversation.question[:READ_LETTERS].replace("’", "'")
    if speech.asks_name.search(question):
        name = _name(conversation, speech)
        return speech.your_name.format(name=name) if name else speech.no_name
    if named := speech.tells_name.search(question):
        return speech.pleased.format(name=named[1])
    if speech.asks_earlier.search(question):
        quotes = "\n".join(f"- {quote}" for quote in _quotes(conversation, speech))
        return speech.said_earlier.format(quotes=quotes) if quotes else speech.nothing_earlier
    if conversation.last_answer and speech.asks_to_go_on.search(question):
        return speech.gone_on.format(quote=_quote("…" + conversation.last_answer[-QUOTED_LETTERS // 2 :], speech))
    return next((topic.text for topic in speech.topics if topic.asked.search(question)), speech.no_answer)


def _name(conversation: Conversation, speech: Speech) -> str | None:
    """The name that the user told last, in whatever language."""
    for text in reversed(conversation.earlier):
        for language in (speech, ENGLISH, CHINESE):
            if named := language.tells_name.search(text[:READ_LETTERS].replace("’", "'")):
                return named[1]
    return None


def _footer(conversation: Conversation, speech: Speech) -> str:
    number = len(conversation.earlier) + 1
    quotes = ", ".join(_quotes(conversation, speech))
    return (speech.footer_earlier if quotes else speech.footer).format(number=number, quotes=quotes)


def _quotes(conversation: Conversation, speech: Speech) -> list[str]:
    return [_quote(text, speech) for text in conversation.earlier[-QUOTED_MESSAGES:]]


def _quote(text: str, speech: Speech) -> str:
    words = " ".join(text[: 2 * QUOTED_LETTERS].split())
    if len(words) > QUOTED_LETTERS or len(text) > 2 * QUOTED_LETTERS:
        words = words[: QUOTED_LETTERS - 1] + "…"
    return speech.quote.format(text=words)


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
