"""One request from its admission to its settlement.

``async with exchange`` is the one exit of every stream: however it ends, what was held is given back, what
was said is kept, and the ledger gets its row. Use::

    async with exchange:
        await exchange.open()                       # statuses are still possible
        await exchange.send_to(client)              # ends with exactly one [DONE]

What others rely on at the end (limits, session) is settled before the last frames leave, so that a client
which has seen ``[DONE]`` finds its place free and its answer in the context. Whoever is told the end later than that
(``told`` was not called) is told it when the ledger has it too, or a moment later where the ledger takes long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from functools import partial
from types import TracebackType
from typing import Any, Self

from streamproxy.domain.limits import Standing
from streamproxy.domain.streams import EndReason, RunningStream, Usage
from streamproxy.domain.tracing import operation
from streamproxy.errors import UpstreamTimeoutError
from streamproxy.services.bookkeeping import Bookkeeping, not_written
from streamproxy.services.calls import WholeAnswer
from streamproxy.services.completion import Identity
from streamproxy.services.deadlines import Deadlines
from streamproxy.services.delivery import FrameWriter
from streamproxy.services.failover import Attempts
from streamproxy.services.holding import Holding
from streamproxy.services.moderation import Moderation
from streamproxy.services.order import Interruption, Order
from streamproxy.services.outcome import Outcome
from streamproxy.services.parts import Parts
from streamproxy.services.prompt import Prompt
from streamproxy.services.runninganswer import RunningAnswer, guards_of
from streamproxy.services.settlement import Settlement
from streamproxy.wire.chat import Reading

# How long an answer or an error that is told after the end waits for the ledger. Whoever has it finds it in the books,
# unless the database is locked or away: then the books are written later, and nobody waits for that.
LEDGER_SECONDS = 2.0


class Exchange:
    """See the module. Not to be entered twice."""

    def __init__(self, parts: Parts, order: Order) -> None:
        self.order = order
        self.prompt: Prompt | None = None
        self.outcome: Outcome | None = None
        self.attempts = Attempts(trace=order.trace, operation=operation(order.endpoint) if order.trace.recorded else "")
        self._parts = parts
        self._holding = Holding(parts, order)
        self._books = Bookkeeping(parts, order, self.attempts)
        self._settlement = Settlement(parts, order, self._holding, self._books)
        self._reserved = False
        self._asked_upstream = False
        self._receipt_promised = False
        self._told = False
        self._concluded = False
        self._running: RunningAnswer | None = None
        self._whole: WholeAnswer | None = None
        self._interruption: Interruption | None = None
        self._opening: asyncio.Task[Any] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._settled_for: asyncio.Future[None] | None = None
        self._unwritten = False

    @property
    def description(self) -> RunningStream:
        """What runs, for whom, since when."""
        return self.order.running(since=self._books.began)

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Where the limits stood when this request was admitted or refused."""
        return self._holding.standings

    async def __aenter__(self) -> Self:
        self._parts.running.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._concluded:
            await self._conclude(self._reason_for(error), error)
        if self._unwritten and not self._told:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEDGER_SECONDS):
                    await self._parts.running.gone(self)

    # -- opening ------------------------------------------------------------------------------------

    async def open(self, task: asyncio.Task[Any] | None = None) -> None:
        """Limits, session, key, upstream. Returns when there is something to send.

        *task* is the one that runs this, where it is known.
        """
        parts, order, interruption = self._parts, self.order, self._interruption
        if interruption is not None:
            raise interruption.refusal()
        self._opening = task = task or asyncio.current_task()
        try:
            if not self._reserved:
                await self.reserve()
            if parts.moderation is not None:
                await parts.moderation.ask_upstream(order.request, trace=order.trace, own_key=order.own_key)
            self.prompt = prompt = await self._holding.prompt()
            self.attempts.tokens = partial(_most_tokens, parts, order, prompt)
            self._asked_upstream = True
            self._books.asked = parts.clock()
            if order.request.stream:
                identity = Identity(f"chatcmpl-{order.stream_id}", order.request.model, int(self._books.began))
                answer = await parts.calls.stream(
                    order.request,
                    prompt,
                    identity=identity,
                    attempts=self.attempts,
                    own_key=order.own_key,
                    task=task,
                )
                limit, timeouts = answer.limit, parts.calls.timeouts
                deadlines = Deadlines(timeouts, self._out_of_time, started=limit.began, after=limit)
                self._running = RunningAnswer(answer, deadlines, stop=self._stopped)
            else:
                self._whole = await parts.calls.whole(
                    order.request, prompt, attempts=self.attempts, own_key=order.own_key
                )
            self._books.heard = parts.clock()
            # Neither is asked for again; both keep the session's whole context.
            self.attempts.tokens = None
            self.prompt = prompt.sent()
        except asyncio.CancelledError:
            if self._interruption is None or self._opening is None:
                raise
            self._opening.uncancel()
            raise self._interruption.refusal() from None
        finally:
            self._opening = None

    def promise_receipt(self) -> None:
        """There will be a row in the ledger in any case, also when no upstream was asked."""
        self._receipt_promised = True

    def told(self) -> None:
        """The client has all of its answer: nobody waits for the ledger."""
        self._told = True

    def reserve(self) -> Awaitable[None]:
        """The first step of opening, for who wants to know before the rest whether there is room."""
        parts = self._parts
        parts.calls.check_model(self.order.request.model)
        self._reserved = True
        return self._holding.reserve() if parts.moderation is None else self._reserve_checked(parts.moderation)

    async def _reserve_checked(self, moderation: Moderation) -> None:
        await moderation.check(self.order.request)
        await self._holding.reserve()

    # -- answering ----------------------------------------------------------------------------------

    async def send_to(self, client: FrameWriter) -> None:
        """The answer to *client*, the ending included, as it comes. Raises nothing of the upstream's."""
        running = self._running
        if running is None:
            raise RuntimeError("an answer is asked for before a successful open()")
        parts = self._parts
        guards = await guards_of(parts, self.order, self.prompt, self._holding, running.transcript)
        await running.send_to(client, guards, max_bytes=parts.calls.max_bytes)
        interruption = self._interruption
        if interruption is None:
            error = running.answer.error
            reason = EndReason.FINISH if error is None else EndReason.UPSTREAM_ERROR
        else:
            reason, error = interruption.reason, interruption.error
        await self._conclude(reason, error)
        if error is None:
            await client.send(running.ending(interruption, self.usage))
        else:
            await client.send(running.answer.relay.failing(error))

    async def body(self) -> bytes:
        """The whole answer of a request that does not stream, settled."""
        whole, moderation = self._whole, self._parts.moderation
        if whole is None:
            raise RuntimeError("body() before a successful open()")
        filtered = moderation is not None and await moderation.cut(whole, self.order.request)
        await self._conclude(EndReason.FILTERED if filtered else EndReason.FINISH)
        return whole.body

    # -- ending -------------------------------------------------------------------------------------

    def interrupt(self, interruption: Interruption) -> None:
        """End this exchange from outside: the upstream is closed at once, the client gets its ending."""
        if self._interruption is not None or self._settling is not None:
            return
        self._interruption = interruption
        # Whoever ends a stream is told what it was.
        self._receipt_promised = True
        if self._opening is not None:
            self._opening.cancel()
        if self._running is not None:
            self._running.answer.reply.close()

    def _stopped(self, interruption: Interruption) -> None:
        """A guard has ended the answer."""
        self._interruption = self._interruption or interruption

    def _out_of_time(self, error: UpstreamTimeoutError) -> None:
        self.interrupt(Interruption(EndReason.UPSTREAM_ERROR, error))

    @property
    def usage(self) -> Usage:
        """What the stream used; nothing while it is not settled."""
        return self.outcome.record.usage if self.outcome is not None else Usage()

    @property
    def said(self) -> Reading | None:
        """What was said so far, None while there is no answer."""
        if self.outcome is not None:
            return self.outcome.said
        answered = self._running or self._whole
        return None if answered is None else answered.transcript.read()

    def _reason_for(self, error: BaseException | None) -> EndReason:
        if self._interruption is not None:
            return self._interruption.reason
        if error is None:
            return EndReason.FINISH
        return EndReason.UPSTREAM_ERROR if isinstance(error, Exception) else EndReason.CLIENT_GONE

    def _conclude(self, reason: EndReason, error: BaseException | None = None) -> Awaitable[None]:
        """Settle once, to the end, also when the client leaves meanwhile."""
        if self._settling is not None:
            return self._settled_at_last(self._settling)
        loop = asyncio.get_running_loop()
        # A future of its own stands between: who is cancelled here must not cancel the settlement.
        self._settled_for = settled_for = loop.create_future()
        if self._running is not None:
            self._running.deadlines.stop()
        self._settling = loop.create_task(self._settle(reason, error))
        return settled_for

    @staticmethod
    async def _settled_at_last(settling: asyncio.Task[None]) -> None:
        """For who was cancelled while the settlement ran: its task itself, which also ends where all of a loop's tasks
        are cancelled before it has begun, and nobody is told."""
        await asyncio.wait({settling})
        settling.result()

    async def _settle(self, reason: EndReason, error: BaseException | None) -> None:
        answered, settlement = self._running or self._whole, self._settlement
        ended = self._parts.clock()
        try:
            self.outcome = outcome = await settlement.outcome(
                reason, error, ended=ended, prompt=self.prompt, answered=answered
            )
            # Once the upstream has answered, or was left to answer nobody, the request counts.
            counts = answered is not None or (self._asked_upstream and reason is EndReason.CLIENT_GONE)
            await settlement.give_back(outcome, answered, self._interruption, ended=ended, counts=counts)
            # It knows us, as we know it: what goes round in a circle would stay until the garbage collector comes by.
            self._running = None
        except BaseException as fault:
            self._settled(fault)
            # Where nobody waits any more it is for who asks the task, or for the loop's log.
            if not self._concluded:
                raise
        else:
            self._settled()

    def _settled(self, fault: BaseException | None = None) -> None:
        """Tell who waits; then into the books, also where whoever waited has been cancelled meanwhile."""
        settled_for = self._settled_for
        if settled_for is not None and not settled_for.done():
            self._concluded = True
            if fault is None:
                settled_for.set_result(None)
            else:
                settled_for.set_exception(fault)
        if self.outcome is not None and (self._asked_upstream or self._receipt_promised):
            self._unwritten = True
            self._books.enter(self.outcome, self._recorded)
        else:
            self._parts.running.discard(self)

    def _recorded(self, fault: Exception | None) -> None:
        """The ledger has it, or will not have it for this *fault*."""
        self._unwritten = False
        self._parts.running.discard(self)
        if fault is not None and self.outcome is not None:
            not_written(self.outcome.record)


async def _most_tokens(parts: Parts, order: Order, prompt: Prompt) -> int:
    """The tokens that a call may use at most, for keys with a token window."""
    reply = parts.reply_reserve if order.request.reply_tokens is None else order.request.reply_tokens
    return await parts.prompts.tokens(order.request, prompt) + reply
