"""What an exchange's end takes: the upstream is let go, what came of it is known, what was held is given back."""

from __future__ import annotations

from streamproxy.domain.streams import EndReason
from streamproxy.services.bookkeeping import Bookkeeping
from streamproxy.services.calls import WholeAnswer
from streamproxy.services.holding import Holding
from streamproxy.services.order import Interruption, Order
from streamproxy.services.outcome import Outcome
from streamproxy.services.parts import Parts
from streamproxy.services.prompt import Prompt
from streamproxy.services.runninganswer import RunningAnswer


class Settlement:
    """Of one exchange, whose request is *order*; what it holds is in *holding*."""

    __slots__ = ("_books", "_holding", "_order", "_parts")

    def __init__(self, parts: Parts, order: Order, holding: Holding, books: Bookkeeping) -> None:
        self._parts = parts
        self._order = order
        self._holding = holding
        self._books = books

    async def outcome(
        self,
        reason: EndReason,
        error: BaseException | None,
        *,
        ended: float,
        prompt: Prompt | None,
        answered: RunningAnswer | WholeAnswer | None,
    ) -> Outcome:
        """What came of it, which *ended* then, in epoch seconds; the upstream's connection is let go.

        *answered* is the answer that a key of ours got, None where none did.
        """
        images, said = 0, None
        if isinstance(answered, RunningAnswer):
            # A connection whose answer is finished serves the next call.
            if reason is EndReason.FINISH:
                await answered.answer.reply.finish()
            else:
                answered.answer.reply.close()
        elif answered is not None:
            images = answered.images
        if answered is not None:
            said = answered.transcript.read()
        message = None if said is None else said.message()
        usage = await self._parts.prompts.usage(self._order.request, prompt, said)
        record = self._books.record(reason, usage, said, error, ended=ended, answered=said is not None, images=images)
        return Outcome(self._order, prompt, said, message, record)

    async def give_back(
        self,
        outcome: Outcome,
        answered: RunningAnswer | WholeAnswer | None,
        interruption: Interruption | None,
        *,
        ended: float,
        counts: bool,
    ) -> None:
        """The key, with what the answer cost it and what its ending showed; then limits and session.

        The limits get everything back where the request does not count.
        """
        if answered is not None:
            error = interruption.error if interruption is not None else None
            await self._parts.calls.over(
                answered.answer if isinstance(answered, RunningAnswer) else answered,
                tokens=outcome.record.usage.total_tokens,
                silent=error is not None and error.code == "upstream_idle_timeout",
            )
        await self._holding.settle(outcome, refund=not counts)
        self._books.settling_seconds = self._parts.clock() - ended
        if self._order.trace.recorded:
            self._books.end_spans(outcome.record)
