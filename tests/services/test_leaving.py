"""Requests that end before there is an answer: what was taken is given back, and nobody is asked for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.limits import Ask, Decision, LimitPolicy, Window
from streamproxy.domain.streams import EndReason, Usage, UsageRecord
from streamproxy.domain.tracing import UNTRACED
from streamproxy.errors import StreamCancelledError, UpstreamError
from streamproxy.services.admission import Admission, OnRedisDown
from streamproxy.services.exchange import Exchange
from streamproxy.services.holding import Holding
from streamproxy.services.order import Interruption, Running
from streamproxy.services.prompt import Prompt
from streamproxy.stores.redis.connect import RedisLink, open_redis
from streamproxy.stores.redis.limits import RedisLimits
from tests.support.redis_server import RedisServer

POLICY = LimitPolicy(requests=(Window(2, 60),), streams=1)


class LateLimits(RedisLimits):
    """Redis has taken its decision, and the answer is still on its way."""

    def __init__(self, link: RedisLink) -> None:
        super().__init__(link, zone=ZoneInfo("UTC"))
        self.decided, self.arrives = asyncio.Event(), asyncio.Event()

    async def reserve(self, ask: Ask) -> Decision:
        decision = await super().reserve(ask)
        self.decided.set()
        await self.arrives.wait()
        return decision


@pytest.fixture
def link(redis_server: RedisServer, io_loop: IOLoop) -> Iterator[RedisLink]:
    opened = io_loop.run_sync(lambda: open_redis(redis_server.url, timeout_seconds=10))
    yield opened
    io_loop.run_sync(opened.close)


def parts_of(limits: RedisLimits, policy: LimitPolicy = POLICY) -> Any:
    """What these steps need of a worker."""
    admission = Admission(limits, fallback=limits, policy=policy, on_redis_down=OnRedisDown.CLOSED)
    return SimpleNamespace(
        admission=admission,
        watch=SimpleNamespace(decided=lambda _decision: None),
        leases=SimpleNamespace(hold_place=lambda *_: None),
        clock=lambda: 0.0,
    )


def order_of(scope: str, request_id: str) -> Any:
    request = SimpleNamespace(stream=True, model="m", reply_tokens=None)
    return SimpleNamespace(
        session_id=None,
        fit=False,
        policy=None,
        request=request,
        request_id=request_id,
        stream_id="st_1",
        endpoint="/v1/chat/completions",
        trace=UNTRACED,
        principal=SimpleNamespace(id=scope),
        own_key=None,
    )


async def test_who_leaves_while_the_limits_are_asked_holds_nothing(link: RedisLink) -> None:
    """Neither the one place nor a request of two: both are there for whoever asks next."""
    limits, scope = LateLimits(link), uuid4().hex
    leaving = asyncio.create_task(Holding(parts_of(limits), order_of(scope, "req_1")).reserve())
    await limits.decided.wait()
    leaving.cancel()
    limits.arrives.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    next_one = Holding(parts_of(limits), order_of(scope, "req_2"))
    await next_one.reserve()
    (standing,) = next_one.standings
    assert standing.remaining == 1


async def test_who_leaves_while_more_tokens_are_asked_for_gives_them_back(link: RedisLink) -> None:
    limits, scope = LateLimits(link), uuid4().hex
    limits.arrives.set()
    parts = parts_of(limits, LimitPolicy(tokens=(Window(1000, 60),)))
    parts.prompts = SimpleNamespace(stateless=lambda _request: Prompt((), ()), tokens=_ten)
    parts.leases.release = lambda _stream_id: None
    parts.reply_reserve = 100
    holding = Holding(parts, order_of(scope, "req_1"))
    await holding.reserve()
    limits.decided.clear()
    limits.arrives.clear()
    leaving = asyncio.create_task(holding.extend(500))
    await limits.decided.wait()
    leaving.cancel()
    limits.arrives.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert holding.reserved_tokens == 610
    outcome: Any = SimpleNamespace(answer=None, prompt=None, record=SimpleNamespace(usage=Usage(10, 7)))
    await holding.settle(outcome, refund=False)
    next_one = Holding(parts, order_of(scope, "req_2"))
    await next_one.reserve()
    (standing,) = next_one.standings
    assert standing.remaining == 1000 - 17 - 110


async def _ten(*_: object) -> int:
    return 10


async def test_what_is_cancelled_before_an_upstream_is_asked_asks_none(link: RedisLink) -> None:
    """A resumable stream can be cancelled as soon as it has a place."""
    exchange = Exchange(parts_of(RedisLimits(link, zone=ZoneInfo("UTC"))), order_of(uuid4().hex, "req_1"))
    exchange.interrupt(Interruption(EndReason.CANCELLED))
    with pytest.raises(StreamCancelledError):
        await exchange.open()


async def test_a_settlement_whose_client_leaves_is_entered_all_the_same(link: RedisLink) -> None:
    """A page that cancels and leaves: whoever cancelled is told what it was, and the books have it."""
    refunding, answered = asyncio.Event(), asyncio.Event()
    entered: list[UsageRecord] = []

    async def refund(_reservation: object) -> None:
        refunding.set()
        await answered.wait()

    async def usage(*_: object) -> Usage:
        return Usage()

    def enter(record: UsageRecord, _history: object, tell: Callable[[Exception | None], None]) -> None:
        entered.append(record)
        asyncio.get_running_loop().call_soon(tell, None)

    parts = parts_of(RedisLimits(link, zone=ZoneInfo("UTC")))
    parts.admission.refund = refund
    parts.running, parts.prompts, parts.ledger = Running(), SimpleNamespace(usage=usage), SimpleNamespace(enter=enter)
    parts.leases.release = parts.watch.ended = lambda *_: None
    parts.prices = SimpleNamespace(cost=lambda *_, **__: 0)
    exchange = Exchange(parts, order_of(uuid4().hex, "req_1"))

    async def request() -> None:
        async with exchange:
            exchange.promise_receipt()
            raise UpstreamError("It failed.", code="upstream_unreachable")

    leaving = asyncio.create_task(request())
    await refunding.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (len(parts.running), entered) == (1, [])
    answered.set()
    await parts.running.gone(exchange)
    assert [(record.stream_id, record.error_code) for record in entered] == [("st_1", "upstream_unreachable")]


async def test_who_waits_for_a_settlement_that_fails_hears_of_it(link: RedisLink) -> None:
    """A defect of ours is neither swallowed nor waited for for ever, and the exchange no longer counts as running."""

    async def refund(_reservation: object) -> None:
        raise ZeroDivisionError

    async def usage(*_: object) -> Usage:
        return Usage()

    parts = parts_of(RedisLimits(link, zone=ZoneInfo("UTC")))
    parts.admission.refund = refund
    parts.running, parts.prompts = Running(), SimpleNamespace(usage=usage)
    parts.leases.release = lambda *_: None
    parts.prices = SimpleNamespace(cost=lambda *_, **__: 0)
    with pytest.raises(ZeroDivisionError):
        async with Exchange(parts, order_of(uuid4().hex, "req_1")):
            pass
    await parts.running.idle()


async def test_nobody_waits_for_a_settlement_that_never_began(link: RedisLink) -> None:
    """A loop that is closed cancels all of its tasks, those too that have not had their first step."""
    parts = parts_of(RedisLimits(link, zone=ZoneInfo("UTC")))
    parts.running = Running()
    exchange = Exchange(parts, order_of(uuid4().hex, "req_1"))

    async def request() -> None:
        async with exchange:
            await exchange._conclude(EndReason.FINISH)

    before = asyncio.all_tasks()
    asking = asyncio.create_task(request())
    await asyncio.sleep(0)
    begun = asyncio.all_tasks() - before
    assert (asking in begun, len(begun)) == (True, 2)
    for task in begun:
        task.cancel()
    done, waiting = await asyncio.wait(begun, timeout=5)
    assert (len(done), waiting) == (2, set())
    assert all(task.cancelled() for task in done)
