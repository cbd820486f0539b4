"""A streamed answer from its first event to its last frames: past the guards, to one client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec

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

    async def extend(self, tokens: int, *, spare: bool = False) -> bool:
        """Take *tokens* more; False when the windows have no room for them, or would be over half full for *spare*."""


class RunningAnswer(msgspec.Struct, eq=False):
    """*transcript* is what the client was sent: what the upstream said beyond that is neither kept nor counted.

    *stop* is told the interruption where a guard ended the answer.
    """

    answer: Answer
    deadlines: Deadlines
    stop: Callable[[Interruption], None]
    transcript: Transcript = msgspec.field(default_factory=Transcript)
    _guards: Guards | None = None

    def send_to(self, client: FrameWriter, guards: Sequence[Guard], *, max_bytes: int) -> Awaitable[None]:
        """All but the last frames, past *guards*, as long as the text has at most *max_bytes*.

        Raises nothing of the upstream's.
        """
        transcript = self.transcript
        self._guards = passage = Guards(guards, transcript, max_bytes=max_bytes, stop=self.stop)
        return Delivery(self.answer, client, self.deadlines, guards=passage, transcript=transcript).run()

    def ending(self, interruption: Interruption | None, usage: Usage) -> bytes:
        """The last frames of a valid ending: the upstream's own, or that of the *interruption*."""
        relay = self.answer.relay
        if interruption is None:
            return relay.ending(usage.prompt_tokens, usage.completion_tokens)
        stopped_by = None if self._guards is None else self._guards.stopped_by
        choices = (0,) if stopped_by is None else stopped_by.unfinished()
        finish = _FINISH_REASONS.get(interruption.reason, "stop")
        return relay.cutting(finish, usage.prompt_tokens, usage.completion_tokens, choices=choices)


async def guards_of(
    parts: Parts, order: Order, prompt: Prompt | None, held: TokensHeld, transcript: Transcript
) -> Sequence[Guard]:
    """What the answer has to pass: moderation, and a budget where a token window counts its tokens."""
    words = None if parts.moderation is None else parts.moderation.guard()
    guards: list[Guard] = [] if words is None else [words]
    reserved = held.reserved_tokens
    if reserved is not None and prompt is not None:
        prompts, model = parts.prompts, order.request.model
        # Known where tokens had to be reserved, that is nearly always.
        tokens = prompt.tokens if prompt.tokens is not None else await prompts.tokens(order.request, prompt)
        left = reserved - tokens
        budget = AnswerBudget(
            transcript,
            counter=partial(prompts.counter, model),
            off_loop=partial(prompts.text_tokens, model),
            allowance=left if left > 0 else 0,
            extend=held.extend,
        )
        guards += (budget,)
    return guards
