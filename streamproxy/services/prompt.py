"""What is sent upstream: the request's messages alone, or behind the session's context, trimmed to fit.

A session that Redis lost is rebuilt from the lasting history (``sessionhistory``). While Redis is away sessions are
read from there too, without their order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import methodcaller

import msgspec

from streamproxy.domain.ports import Ledger, SessionStore
from streamproxy.domain.sessions import EMPTY, NO_PLACE, SYSTEM_ROLES, Context, Message, Place, Queued, SessionRef
from streamproxy.domain.streams import Usage
from streamproxy.domain.tokens import (
    TOKENS_FOR_REPLY,
    TOKENS_PER_MESSAGE,
    TOKENS_PER_ROLE,
    SamplingCounter,
    TokenCounters,
    count_message,
    message_text,
    sampled_length,
)
from streamproxy.domain.truncation import Fitted, fit, whole
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.sessionhistory import SessionHistory
from streamproxy.wire.chat import ChatRequest, Reading
from streamproxy.wire.plain import AnyRequest, PlainRequest

log = logging.getLogger(__name__)

_role_of = methodcaller("get", "role")


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


class Prompt(msgspec.Struct, frozen=True):
    """*messages* go upstream; *said* is what this request adds to the conversation, untrimmed.

    *system* is the system message in force. *left_out* counts the messages and token runs that did not fit. *tokens*
    is the size of *messages* as a prompt, *said_tokens* that of *said* as a part of one; None where nobody has counted.
    """

    messages: Sequence[Message]
    said: tuple[Message, ...]
    system: Message | None = None
    left_out: int = 0
    tokens: int | None = None
    said_tokens: int | None = None

    def counted(self, tokens: int) -> Prompt:
        """The same, when somebody has counted its size."""
        return Prompt(self.messages, self.said, self.system, self.left_out, tokens, self.said_tokens)

    def sent(self) -> Prompt:
        """What is still needed while the answer runs: a context may be half a megabyte, and streams run for minutes."""
        if self.tokens is None:
            return self
        return Prompt((), self.said, self.system, self.left_out, self.tokens, self.said_tokens)


class Prompts:
    """Makes prompts of requests. *counter* finds what counts the tokens of a model's texts."""

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
        self._history = SessionHistory(ledger, sessions, size=self.turn_tokens, ttl=policy.ttl_seconds, clock=clock)
        self._counters = counters
        self.counter = counters.counter
        self.size = counters.size

    def stateless(self, request: AnyRequest) -> Prompt:
        """The request as it is. What it says anew stands behind the last answer it quotes."""
        if isinstance(request, PlainRequest):
            return Prompt(request.messages, request.messages, tokens=request.tokens)
        return Prompt(request.messages, _newest(request.messages))

    async def fitted(self, request: ChatRequest) -> Prompt:
        """The request by itself, its middle cut where it is over the model's window.

        ContextLengthError when even that is too long.
        """
        systems, others = _by_role(request.messages)
        system = systems[0] if systems else None
        fitted = await self._fit(request, EMPTY, said=(*systems[1:], *others), system=system)
        return Prompt(fitted.messages, _newest(request.messages), system, fitted.left_out, fitted.tokens)

    async def in_session(
        self,
        request: ChatRequest,
        ref: SessionRef,
        turn_id: str,
        *,
        place: Place = NO_PLACE,
        size: int | None = None,
    ) -> Prompt:
        """Enter the session, at *place*, and put its context first. Whoever called must append or leave.

        *size*, that of the request's messages in tokens, is counted where it is not known. SessionBusyError after the
        wait bound, ContextLengthError when what may not be cut is too long.
        """
        entered = place if isinstance(place, Context) else await self._entered(ref, turn_id, place)
        if entered is not None and (entered.turns or entered.system):
            context = entered
        else:
            context = EMPTY
            if self.policy.rebuild:
                context = await self._history.context(ref, request.model, put_back=entered is not None)
        tokens = await self.size(request.model, request.messages) if size is None else size
        said = new = request.messages
        said_tokens: int | None = tokens
        system = context.system
        if not SYSTEM_ROLES.isdisjoint(map(_role_of, said)):
            (system, *more), said = _by_role(said)
            new, said_tokens = (*more, *said), None
        elif system is not None:
            tokens += count_message(system, await self.counter(request.model))
        budget, context_budget = self._budget(request), self.policy.context_tokens
        fitted = whole(context, new, system=system, tokens=tokens, budget=budget, context_budget=context_budget)
        if fitted is None:
            fitted = await self._fit(request, context, said=new, system=system)
        return Prompt(fitted.messages, said, system, fitted.left_out, fitted.tokens, said_tokens)

    async def tokens(self, request: AnyRequest, prompt: Prompt) -> int:
        """The prompt's size in tokens, counted if nobody had to before."""
        if prompt.tokens is not None:
            return prompt.tokens
        return TOKENS_FOR_REPLY + await self.size(request.model, prompt.messages)

    async def usage(self, request: AnyRequest, prompt: Prompt | None, said: Reading | None) -> Usage:
        """As the upstream reported it, else counted and flagged. Nothing was used where nothing was answered."""
        if prompt is None or said is None:
            return Usage()
        reported = said.usage
        if reported is not None:
            return Usage(reported.prompt_tokens, reported.completion_tokens, reported.cached_tokens)
        if isinstance(request, PlainRequest) and request.pictures:
            # Where tokens are not reported, pictures are what is paid for.
            return Usage()
        text = said.reasoning + message_text(said.message() or {})
        return Usage(
            prompt_tokens=await self.tokens(request, prompt),
            completion_tokens=await self.answer_tokens(request.model, text),
            estimated=True,
        )

    async def text_tokens(self, model: str, text: str) -> int:
        """The size of *text* in tokens, exactly."""
        counter = await self.counter(model)
        return await self._counters.off_loop(text, lambda: counter.count(text))

    async def answer_tokens(self, model: str, text: str) -> int:
        """The size of an answer in tokens; of a very long one about its size."""
        counter = SamplingCounter(await self.counter(model))
        return await self._counters.off_loop(sampled_length((text,)), lambda: counter.count(text))

    async def turn_tokens(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        said_tokens: int | None = None,
        answer_tokens: int | None = None,
    ) -> int:
        """The size of a turn as it will be sent again; about its size where it is very long.

        Not counted is what is known: *answer_tokens*, those of the last message's text, and *said_tokens*, the size
        of the others.
        """
        if answer_tokens is not None:
            known = TOKENS_PER_MESSAGE + TOKENS_PER_ROLE + answer_tokens
            return known + (await self.turn_tokens(model, messages[:-1]) if said_tokens is None else said_tokens)
        if said_tokens is not None:
            return said_tokens + await self.turn_tokens(model, messages[-1:])
        counter = SamplingCounter(await self.counter(model))
        effort = sampled_length(map(message_text, messages))
        return await self._counters.off_loop(effort, lambda: sum(count_message(m, counter) for m in messages))

    async def _fit(
        self, request: ChatRequest, context: Context, *, said: Sequence[Message], system: Message | None
    ) -> Fitted:
        counter = await self.counter(request.model)
        return await self._counters.off_loop(
            # Only what has to be counted: a turn that was rebuilt from history comes without its size.
            (*said, *(m for turn in context.turns if not turn.tokens for m in turn.messages)),
            partial(
                fit,
                context,
                said,
                system=system,
                budget=self._budget(request),
                context_budget=self.policy.context_tokens,
                counter=counter,
            ),
        )

    def _budget(self, request: ChatRequest) -> int:
        """Tokens that the model's window leaves for the prompt."""
        policy = self.policy
        window = policy.windows.get(request.model, policy.default_window)
        reply, half = request.reply_tokens or policy.reply_reserve, window // 2
        return window - (reply if reply < half else half)

    async def _entered(self, ref: SessionRef, turn_id: str, place: Queued) -> Context | None:
        """The context as Redis has it; None where Redis did not say."""
        try:
            return await self._sessions.enter(ref, turn_id, self.policy.wait_seconds, place=place)
        except StoreUnavailableError:
            if self.policy.sessions_need_redis:
                raise
            return None


def _by_role(messages: Sequence[Message]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The system messages, and the others."""
    systems = tuple(m for m in messages if m.get("role") in SYSTEM_ROLES)
    return systems, tuple(m for m in messages if m.get("role") not in SYSTEM_ROLES)


def _newest(messages: Sequence[Message]) -> tuple[Message, ...]:
    roles = [*map(_role_of, messages)]
    start = len(roles) - roles[::-1].index("assistant") if "assistant" in roles else 0
    return tuple(m for m, role in zip(messages[start:], roles[start:], strict=True) if role not in SYSTEM_ROLES)
