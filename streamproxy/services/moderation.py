"""Moderation: what may not be asked and what may not be said, by a word list and by the upstream's own judgement.

The word list looks at questions before anything is counted and at answers before they are shown. The upstream's
``/moderations``, where a model for it is set, looks at questions; what cannot be judged is not asked: an upstream
that does not answer there answers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from streamproxy.domain.tokens import message_text
from streamproxy.domain.tracing import Span
from streamproxy.domain.wordlist import LONG_TEXT, WordList
from streamproxy.errors import ContentPolicyError, UpstreamError
from streamproxy.services.answerfilter import AnswerFilter
from streamproxy.services.calls import Calls, WholeAnswer
from streamproxy.services.failover import Attempts
from streamproxy.services.prompt import Prompt
from streamproxy.wire.body import UNREADABLE
from streamproxy.wire.chat import Transcript
from streamproxy.wire.chat import said as wire_said
from streamproxy.wire.plain import AnyRequest, PlainRequest

T = TypeVar("T")

_NO_PROMPT = Prompt((), ())


class _Result(msgspec.Struct):
    flagged: bool


class _Judgement(msgspec.Struct):
    results: list[_Result]


class Moderation:
    """*words* may be None, *model* the name of the upstream's moderation model; without both there is none."""

    def __init__(self, words: WordList | None, *, model: str | None, calls: Calls) -> None:
        self._words = words
        self._model = model
        self._calls = calls

    async def check(self, request: AnyRequest) -> None:
        """ContentPolicyError when the word list refuses a text of *request*."""
        words = self._words
        if words is None:
            return
        texts = [message_text(message) for message in request.messages]
        if await _off_loop(texts, lambda: any(words.first(text) is not None for text in texts)):
            raise _refused(request)

    async def ask_upstream(self, request: AnyRequest, *, trace: Span, own_key: str | None) -> None:
        """ContentPolicyError when the upstream flags a text of *request*; UpstreamError when it does not say."""
        texts = [text for message in request.messages if (text := message_text(message))]
        if self._model is None or not texts:
            return
        question = PlainRequest("/moderations", self._model, (), {"input": texts}, answers="results")
        attempts = Attempts(trace=trace, operation="moderation")
        answer = await self._calls.whole(question, _NO_PROMPT, attempts=attempts, own_key=own_key)
        attempts.span.end({})
        await self._calls.over(answer, tokens=0, silent=False)
        if any(result.flagged for result in _judgement(answer.body)):
            raise _refused(request)

    def guard(self) -> AnswerFilter | None:
        """What a streamed answer has to pass."""
        return None if self._words is None else AnswerFilter(self._words)

    async def cut(self, answer: WholeAnswer, request: AnyRequest) -> bool:
        """Take out of a whole *answer* what may not be said; whether it had to be ended there."""
        words, body = self._words, answer.body
        if words is None or isinstance(request, PlainRequest):
            return False
        filtered, cut = await _off_loop([body], lambda: _filtered(words, body))
        if filtered is not body:
            answer.body, answer.transcript = filtered, Transcript.of_completion(filtered)
        return cut


def _judgement(body: bytes) -> Sequence[_Result]:
    try:
        return msgspec.json.decode(body, type=_Judgement).results
    except UNREADABLE as exc:
        raise UpstreamError("the upstream's moderation cannot be read", code="upstream_malformed") from exc


async def _off_loop(texts: Sequence[str | bytes], work: Callable[[], T]) -> T:
    """What *work* on *texts* gives: in a thread when they are long, else at once."""
    long = sum(map(len, texts)) > LONG_TEXT
    return await asyncio.to_thread(work) if long else work()


def _refused(request: AnyRequest) -> ContentPolicyError:
    field = "messages"
    if isinstance(request, PlainRequest):
        field = "prompt" if request.pictures else "input"
    return ContentPolicyError("This request is refused by the content policy of this service.", param=field)


def _filtered(words: WordList, body: bytes) -> tuple[bytes, bool]:
    """A whole completion without what may not be said, and whether a text of it was cut; *body* itself if not."""
    completion: dict[str, Any] = msgspec.json.decode(body)
    changed, cut = completion, False
    if any(choice.get("logprobs") for choice in wire_said.choices(completion)):
        # They repeat the answer, and name the words it might have used instead.
        changed = wire_said.with_choices(changed, logprobs=None)
    cut_choices: set[int] = set()
    for text in wire_said.texts(completion):
        place = 0 if text.choice in cut_choices else words.first(text.text)
        if place is not None:
            changed = wire_said.with_text(changed, text, text.text[:place])
            cut_choices.add(text.choice)
    if cut_choices:
        cut = True
        changed = {
            **changed,
            "choices": [
                {**choice, "finish_reason": "content_filter"} if wire_said.index_of(choice) in cut_choices else choice
                for choice in wire_said.choices(changed)
            ],
        }
    return (body, False) if changed is completion else (msgspec.json.encode(changed), cut)
