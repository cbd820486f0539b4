"""What a client orders, and how an order is broken off from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import msgspec

from streamproxy.domain.identity import Principal
from streamproxy.domain.limits import LimitPolicy
from streamproxy.domain.streams import EndReason, RunningStream
from streamproxy.domain.tracing import UNTRACED, Span
from streamproxy.errors import StreamCancelledError, StreamProxyError
from streamproxy.wire.plain import AnyRequest


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """Limits that count under *name*: endpoints of one name share them."""

    name: str
    limits: LimitPolicy


class Order(msgspec.Struct, frozen=True):
    """What a client asks for. *trace* is the request's span; *endpoint* names the way in.

    *policy* are the limits of an endpoint that has its own, counted apart from the general ones. *own_key* is the
    caller's own provider key: used for this call only, never stored, never logged. *fit*: also without a session
    the prompt's middle is cut to the model's window. *lasting*: whether what is said goes into the history.
    """

    principal: Principal
    request: AnyRequest
    request_id: str
    stream_id: str
    endpoint: str
    session_id: str | None = None
    trace: Span = UNTRACED
    policy: EndpointPolicy | None = None
    own_key: str | None = None
    fit: bool = False
    lasting: bool = True

    def __repr__(self) -> str:
        """Without the caller's own key, and without what is said."""
        return f"Order({self.stream_id!r}, {self.endpoint!r})"

    def running(self, *, since: float) -> RunningStream:
        """What runs, for whom, *since* when, in epoch seconds."""
        person, model = self.principal, self.request.model
        return RunningStream(self.stream_id, self.request_id, person.id, person.name, model, self.endpoint, since)


@dataclass(frozen=True, slots=True)
class Interruption:
    """Why a stream is to end before the upstream ends it. *error* is None for a valid ending."""

    reason: EndReason
    error: StreamProxyError | None = None

    def refusal(self) -> StreamProxyError:
        """What it means where nothing was said yet: without an answer there is no valid ending."""
        return self.error or StreamCancelledError("The stream was cancelled.")


class Running:
    """The exchanges under way, with a way to wait for the last of them."""

    def __init__(self) -> None:
        self._exchanges: set[Interruptible] = set()
        self.add = self._exchanges.add
        # Made by those who wait, which is seldom: exchanges come and go all the time.
        self._awaited: dict[Interruptible, asyncio.Event] = {}
        self._idle: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._exchanges)

    def __iter__(self) -> Iterator[Interruptible]:
        return iter(tuple(self._exchanges))

    def discard(self, exchange: Interruptible) -> None:
        self._exchanges.discard(exchange)
        if exchange in self._awaited:
            self._awaited.pop(exchange).set()
        if self._idle is not None and not self._exchanges:
            self._idle.set()
            self._idle = None

    def interrupt_all(self, interruption: Interruption) -> None:
        for exchange in list(self._exchanges):
            exchange.interrupt(interruption)

    async def gone(self, exchange: Interruptible) -> None:
        """Return when *exchange* is no longer under way: settled and recorded."""
        if exchange in self._exchanges:
            await self._awaited.setdefault(exchange, asyncio.Event()).wait()

    async def idle(self) -> None:
        """Return when none is under way."""
        if self._exchanges:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()


class Interruptible(Protocol):
    """A running exchange, as those see it who may have to end it."""

    @property
    def description(self) -> RunningStream:
        """What runs, for whom, since when."""

    def interrupt(self, interruption: Interruption) -> None:
        """End it: the upstream is closed at once, the client gets its ending."""
