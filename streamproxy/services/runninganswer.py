"""A streamed answer from its first event to its last frames: past the guards, to one client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from streamproxy.domain.streams import EndReason, Usage
from streamproxy.services.budget import AnswerBudget
from streamproxy.services.calls import Answer
from streamproxy.services.deadlines import Deadlines
from streamproxy.services.delivery import Delivery, FrameWriter
from streamproxy.services.guards import Guard, Guards
from streamproxy.services.order import Interruption, Order
from streamproxy.services.parts import Parts
from streamproxy.services.prompt import Prompt
from streamproxy.wire.chat import Transcript

# What a client reads where we ended the answer; it was stopped by somebody otherwise.
_FINISH_REASONS = {EndReason.BUDGET: "length", EndReason.FILTERED: "content_filter"}


class TokensHeld(Protocol):
    """The tokens that are held for one exchange: ``services.holding``."""

    @property
    def reserved_tokens(self) -> int | None:
        """What may be used before more has to be taken, None where no token window counts."""

    async def extend(self, tokens: int) -> bool:
        """Take *tokens* more; False when the windows have no room for them."""


class RunningAnswer:
    """*stop* is told the interruption where a guard ended the answer."""

    def __init__(self, answer: Answer, deadlines: Deadlines, *, stop: Callable[[Interruption], None]) -> None:
        self.answer = answer
        self.deadlines = deadlines
        self._stop = stop
        self._guards: Guards | None = None

    async def send_to(self, client: FrameWriter, guards: Guards | None) -> None:
        """All but the last frames. Raises nothing of the upstream's."""
        self._guards = guards
        await Delivery(self.answer, client, self.deadlines, guards=guards, passed=self._passed).run()
        if frames := await self._passed(b"", last=True):
            await client.send(frames)

    async def _passed(self, frames: bytes, *, last: bool = False) -> bytes:
        """What of *frames* the guards let pass, and at the *last* what they had held back."""
        guards = self._guards
        if guards is None:
            return frames
        frames = await guards.rest() if last else await guards.cut(frames)
        if guards.stopped_by is not None:
            self._stop(Interruption(guards.stopped_by.reason))
        return frames

    def ending(self, interruption: Interruption | None, usage: Usage) -> bytes:
        """The last frames of a valid ending: the upstream's own, or that of the *interruption*."""
        relay = self.answer.relay
        if interruption is None:
            return relay.ending(usage.prompt_tokens, usage.completion_tokens)
        stopped_by = self._guards.stopped_by if self._guards is not None else None
        choices = stopped_by.unfinished() if stopped_by is not None else (0,)
        finish = _FINISH_REASONS.get(interruption.reason, "stop")
        return relay.cutting(finish, usage.prompt_tokens, usage.completion_tokens, choices=choices)

    def transcript(self, *, interrupted: bool) -> Transcript:
        """What the client got: what the upstream had already said beyond that is neither kept nor counted."""
        relay, guards = self.answer.relay, self._guards
        broken = relay.failure is not None or interrupted
        return relay.transcript if guards is None or (guards.complete and not broken) else guards.delivered

    async def close(self, *, finished: bool) -> None:
        """Let the upstream go: a connection whose answer is *finished* serves the next call."""
        if finished:
            await self.answer.reply.finish()
        else:
            self.answer.reply.close()


async def guards_of(parts: Parts, order: Order, prompt: Prompt | None, held: TokensHeld) -> Guards | None:
    """What the answer has to pass: moderation, and a budget where a token window counts its tokens."""
    guards: list[Guard] = []
    if parts.moderation is not None and (words := parts.moderation.guard()) is not None:
        guards.append(words)
    if held.reserved_tokens is not None and prompt is not None:
        budget = AnswerBudget(
            count=(await parts.prompts.counter(order.request.model)).count,
            allowance=max(held.reserved_tokens - await parts.prompts.tokens(order.request, prompt), 0),
            extend=held.extend,
        )
        guards.append(budget)
    return Guards(guards) if guards else None
