"""What is sent upstream: the request's messages alone, or behind the session's context, trimmed to fit.

A session that Redis lost is rebuilt from the lasting history, as far as its turns followed each other
within the time to live. While Redis is away sessions are read from there too, without their order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import msgspec

from streamproxy.domain.ports import Ledger, SessionStore
from streamproxy.domain.sessions import EMPTY, NO_PLACE, SYSTEM_ROLES, Context, Message, Place, Queued, SessionRef, Turn
from streamproxy.domain.streams import HistoryMessage, Usage
from streamproxy.domain.tokens import (
    TOKENS_PER_MESSAGE,
    TOKENS_PER_ROLE,
    SamplingCounter,
    TokenCounter,
    TokenCounters,
    count_message,
    count_messages,
    message_text,
    sampled_length,
)
from streamproxy.domain.truncation import Fitted, fit
from streamproxy.errors import StoreUnavailableError
from streamproxy.wire.chat import ChatRequest, Transcript
from streamproxy.wire.plain import AnyRequest, PlainRequest

log = logging.getLogger(__name__)

# More history than this is never looked through for one session: the context is bounded anyway.
REBUILD_MESSAGES = 200


@dataclass(frozen=True, slots=True)
class PromptPolicy:
    """Sizes in tokens, times in seconds. *windows* maps a model to its context window."""

    windows: Mapping[str, int]
    default_window: int
    reply_reserve: int
    context_tokens: int
    ttl_seconds: float
    wait_seconds: float
    rebuild: bool
    sessions_need_redis: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """*messages* go upstream; *said* is what this request adds to the conversation, untrimmed.

    *system* is the system message in force. *left_out* counts the messages and token runs that did not fit.
    """

    messages: tuple[Message, ...]
    said: tuple[Message, ...]
    system: Message | None = None
    left_out: int = 0
    tokens: int | None = None

    def sent(self) -> Prompt:
        """What is still needed while the answer runs: a context may be half a megabyte, and streams run for minutes."""
        return self if self.tokens is None else replace(self, messages=())


class Prompts:
    """Makes prompts of requests."""

    def __init__(
        self,
        policy: PromptPolicy,
        *,
        sessions: SessionStore,
        ledger: Ledger,
        counters: TokenCounters,
        clock: Callable[[], float],
    ) -> None:
        self.policy = policy
        self._sessions = sessions
        self._ledger = ledger
        self._counters = counters
        self._clock = clock

    def stateless(self, request: AnyRequest) -> Prompt:
        """The request as it is. What it says anew stands behind the last answer it quotes."""
        if isinstance(request, PlainRequest):
            return Prompt(request.messages, request.messages, tokens=request.tokens)
        return Prompt(request.messages, _newest(request.messages))

    async def fitted(self, request: ChatRequest) -> Prompt:
        """The request by itself, its middle cut where it is over the model's window.

        ContextLengthError when even that is too long.
        """
        systems = [m for m in request.messages if m.get("role") in SYSTEM_ROLES]
        others = [m for m in request.messages if m.get("role") not in SYSTEM_ROLES]
        system = systems[0] if systems else None
        fitted = await self._fit(request, EMPTY, said=(*systems[1:], *others), system=system)
        return Prompt(fitted.messages, _newest(request.messages), system, fitted.left_out, fitted.tokens)

    async def in_session(
        self, request: ChatRequest, ref: SessionRef, turn_id: str, *, place: Place = NO_PLACE
    ) -> Prompt:
        """Enter the session, at *place*, and put its context first. Whoever called must append or leave.

        SessionBusyError after the wait bound, ContextLengthError when what may not be cut is too long.
        """
        context = await self._context(ref, turn_id, request.model, place)
        own_system = [m for m in request.messages if m.get("role") in SYSTEM_ROLES]
        said = tuple(m for m in request.messages if m.get("role") not in SYSTEM_ROLES)
        system = own_system[0] if own_system else context.system
        fitted = await self._fit(request, context, said=(*own_system[1:], *said), system=system)
        return Prompt(fitted.messages, said, system, fitted.left_out, fitted.tokens)

    async def tokens(self, request: AnyRequest, prompt: Prompt) -> int:
        """The prompt's size in tokens, counted if nobody had to before."""
        if prompt.tokens is not None:
            return prompt.tokens
        counter = await self._counters.counter(request.model)
        return await self._counters.off_loop(prompt.messages, lambda: count_messages(prompt.messages, counter))

    async def usage(self, request: AnyRequest, prompt: Prompt | None, transcript: Transcript | None) -> Usage:
        """As the upstream reported it, else counted and flagged. Nothing was used where nothing was answered."""
        if prompt is None or transcript is None:
            return Usage()
        reported = transcript.usage
        if reported is not None:
            return Usage(reported.prompt_tokens, reported.completion_tokens, reported.cached_tokens)
        if isinstance(request, PlainRequest) and request.pictures:
            # Where tokens are not reported, pictures are what is paid for.
            return Usage()
        said = transcript.reasoning + message_text(transcript.message() or {})
        return Usage(
            prompt_tokens=await self.tokens(request, prompt),
            completion_tokens=await self.answer_tokens(request.model, said),
            estimated=True,
        )

    async def counter(self, model: str) -> TokenCounter:
        """What counts the tokens of *model*'s texts."""
        return await self._counters.counter(model)

    async def text_tokens(self, model: str, text: str) -> int:
        """The size of *text* in tokens, exactly."""
        counter = await self._counters.counter(model)
        return await self._counters.off_loop(text, lambda: counter.count(text))

    async def answer_tokens(self, model: str, text: str) -> int:
        """The size of an answer in tokens; of a very long one about its size."""
        counter = SamplingCounter(await self._counters.counter(model))
        return await self._counters.off_loop(sampled_length((text,)), lambda: counter.count(text))

    async def turn_tokens(self, model: str, messages: Sequence[Message], *, answer_tokens: int | None = None) -> int:
        """The size of a turn as it will be sent again; about its size where it is very long.

        Where the *answer_tokens* of its last message are known they are not counted.
        """
        if answer_tokens is not None:
            messages, known = messages[:-1], TOKENS_PER_MESSAGE + TOKENS_PER_ROLE + answer_tokens
            return known + await self.turn_tokens(model, messages)
        counter = SamplingCounter(await self._counters.counter(model))
        effort = sampled_length(map(message_text, messages))
        return await self._counters.off_loop(effort, lambda: sum(count_message(m, counter) for m in messages))

    async def _fit(
        self, request: ChatRequest, context: Context, *, said: Sequence[Message], system: Message | None
    ) -> Fitted:
        policy = self.policy
        window = policy.windows.get(request.model, policy.default_window)
        budget = window - min(request.reply_tokens or policy.reply_reserve, window // 2)
        counter = await self._counters.counter(request.model)
        return await self._counters.off_loop(
            # Only what has to be counted: a turn that was rebuilt from history comes without its size.
            (*said, *(m for turn in context.turns if not turn.tokens for m in turn.messages)),
            lambda: fit(
                context, said, system=system, budget=budget, context_budget=policy.context_tokens, counter=counter
            ),
        )

    async def _context(self, ref: SessionRef, turn_id: str, model: str, place: Place) -> Context:
        context = place if isinstance(place, Context) else await self._entered(ref, turn_id, place)
        if context is not None and (context.turns or context.system):
            return context
        if not self.policy.rebuild:
            return EMPTY
        return await self._rebuilt(ref, model, put_back=context is not None)

    async def _entered(self, ref: SessionRef, turn_id: str, place: Queued) -> Context | None:
        """The context as Redis has it; None where Redis did not say."""
        try:
            return await self._sessions.enter(ref, turn_id, self.policy.wait_seconds, place=place)
        except StoreUnavailableError:
            if self.policy.sessions_need_redis:
                raise
            return None

    async def _rebuilt(self, ref: SessionRef, model: str, *, put_back: bool) -> Context:
        """*put_back* only by who is inside and has found the session empty: behind a living one old turns would count
        as new."""
        try:
            history = await self._ledger.history(ref.principal_id, session_id=ref.session_id, limit=REBUILD_MESSAGES)
        except StoreUnavailableError:
            log.warning("a session starts empty: its history cannot be read")
            return EMPTY
        fresh = _within_ttl(history, self._clock(), self.policy.ttl_seconds)
        if not fresh:
            return EMPTY
        messages = [msgspec.json.decode(row.message) for row in fresh]
        systems = [m for m in messages if m.get("role") in SYSTEM_ROLES]
        system = systems[-1] if systems else None
        turns = []
        for stream_id, rows in groupby(zip(fresh, messages, strict=True), key=lambda pair: pair[0].stream_id):
            said = tuple(m for _, m in rows if m.get("role") not in SYSTEM_ROLES)
            turns.append(Turn(stream_id, said, await self.turn_tokens(model, said)))
        if put_back:
            await self._restore(ref, turns, system)
        return Context(system, tuple(turns))

    async def _restore(self, ref: SessionRef, turns: Sequence[Turn], system: Message | None) -> None:
        """Put rebuilt turns back, so that the next request finds them without SQL."""
        try:
            for turn in turns:
                await self._sessions.append(ref, turn, system)
        except StoreUnavailableError:
            log.debug("a rebuilt session is not put back: Redis is away")


def _newest(messages: Sequence[Message]) -> tuple[Message, ...]:
    answers = [i for i, m in enumerate(messages) if m.get("role") == "assistant"]
    newest = messages[answers[-1] + 1 :] if answers else messages
    return tuple(m for m in newest if m.get("role") not in SYSTEM_ROLES)


def _within_ttl(history: Sequence[HistoryMessage], now: float, ttl: float) -> list[HistoryMessage]:
    """The newest rows whose turns followed each other within the time to live, oldest first."""
    kept: list[HistoryMessage] = []
    for row in reversed(history):
        if now - row.created > ttl:
            break
        kept.append(row)
        now = row.created
    return kept[::-1]
