"""Limits in a worker's memory, for the time Redis is away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from streamproxy.domain.limits import Ask, DayQuota, Limit, LimitPolicy, Reservation, Window
from streamproxy.stores import local
from streamproxy.stores.local import LocalLimits

SHANGHAI = ZoneInfo("Asia/Shanghai")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2027, 3, 1, 12, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> LocalLimits:
    return LocalLimits(workers=1, zone=SHANGHAI, clock=clock)


def ask(*requests: Limit, tokens: Sequence[Limit] = (), streams: int = 0, estimate: int = 0, scope: str = "p") -> Ask:
    policy = LimitPolicy(requests=requests, tokens=tuple(tokens), streams=streams)
    return Ask(scope, uuid4().hex, policy, estimate)


async def admitted(limits: LocalLimits, asked: Ask) -> Reservation:
    decision = await limits.reserve(asked)
    assert decision.reservation is not None
    assert decision.reservation.local
    return decision.reservation


async def left(limits: LocalLimits, *token_limits: Limit) -> list[int]:
    decision = await limits.reserve(ask(tokens=token_limits))
    return [standing.remaining for standing in decision.standings]


@pytest.mark.parametrize(("count", "workers", "share"), [(10, 1, 10), (10, 4, 2), (3, 3, 1), (3, 4, 0)])
async def test_each_worker_admits_its_share(clock: Clock, count: int, workers: int, share: int) -> None:
    """Rounded down, so that all workers together stay within the limit, even if that means nobody."""
    limits = LocalLimits(workers=workers, zone=SHANGHAI, clock=clock)
    decisions = [await limits.reserve(ask(Window(count, 60))) for _ in range(count + 1)]
    assert sum(1 for decision in decisions if decision.reservation) == share
    assert decisions[-1].refused_by == "requests"
    assert decisions[-1].retry_after == pytest.approx(60)
    assert decisions[-1].standings[0].limit == count


async def test_who_waits_as_told_is_admitted(limits: LocalLimits, clock: Clock) -> None:
    for _ in range(3):
        await admitted(limits, ask(Window(3, 30)))
        clock.now += 1
    wait = (await limits.reserve(ask(Window(3, 30)))).retry_after
    clock.now += wait - 0.001
    assert (await limits.reserve(ask(Window(3, 30)))).reservation is None
    clock.now += 0.001
    await admitted(limits, ask(Window(3, 30)))


async def test_all_limits_or_none(limits: LocalLimits, clock: Clock) -> None:
    """A refusal by one takes nothing from the others, and the longest wait is told."""
    policy = (Window(1, 5), Window(2, 60), DayQuota(2))
    tokens = (Window(100, 60), DayQuota(100))
    await admitted(limits, ask(*policy, tokens=tokens, estimate=10, streams=2))
    for _ in range(4):
        assert (await limits.reserve(ask(*policy, tokens=tokens, estimate=10, streams=2))).refused_by == "requests"
    clock.now += 6
    decision = await limits.reserve(ask(*policy, tokens=tokens, estimate=10, streams=2))
    assert [standing.remaining for standing in decision.standings] == [0, 0, 0, 80, 80]
    assert (await limits.reserve(ask(*policy, tokens=tokens, streams=2))).refused_by == "calendar-day"


async def test_a_limit_written_twice_is_one(limits: LocalLimits) -> None:
    decision = await limits.reserve(ask(Window(2, 60), Window(2, 60)))
    assert [standing.remaining for standing in decision.standings] == [1]


async def test_a_repeated_ask_counts_once(limits: LocalLimits) -> None:
    asked = ask(Window(2, 60), streams=1)
    assert await admitted(limits, asked) == await admitted(limits, asked)
    assert (await limits.reserve(asked)).standings[0].remaining == 1


async def test_refund_gives_back_everything_once(limits: LocalLimits) -> None:
    asked = ask(Window(2, 60), DayQuota(2), tokens=(Window(100, 60),), streams=1, estimate=30)
    reservation = await admitted(limits, asked)
    for _ in range(2):
        await limits.refund(reservation)
    standings = (await limits.reserve(asked)).standings
    assert [standing.remaining for standing in standings] == [1, 1, 70]


@pytest.mark.parametrize(("used", "remaining"), [(0, 100), (15, 85), (130, 0)])
async def test_settle_counts_what_was_really_used(limits: LocalLimits, used: int, remaining: int) -> None:
    bounds = (Window(100, 60), DayQuota(100))
    reservation = await admitted(limits, ask(tokens=bounds, estimate=40))
    for _ in range(2):
        await limits.settle(reservation, used)
    assert await left(limits, *bounds) == [remaining, remaining]


async def test_extend_takes_more_until_there_is_no_room(limits: LocalLimits, clock: Clock) -> None:
    """What was too much goes back newest first: early tokens leave the window early."""
    bound = Window(100, 60)
    reservation = await admitted(limits, ask(tokens=(bound,), estimate=40))
    clock.now += 30
    longer = await limits.extend(reservation, 50)
    assert longer is not None
    assert longer.ask.tokens == 90
    assert await limits.extend(longer, 20) is None
    await limits.settle(longer, 30)
    assert await left(limits, bound) == [70]
    clock.now += 32
    assert await left(limits, bound) == [100]


async def test_what_is_spare_leaves_half_of_every_window(limits: LocalLimits) -> None:
    bounds = (Window(100, 60), DayQuota(1000))
    reservation = await admitted(limits, ask(tokens=bounds, estimate=40))
    assert await limits.extend(reservation, 11, spare=True) is None
    longer = await limits.extend(reservation, 10, spare=True)
    assert longer is not None
    assert longer.ask.tokens == 50
    assert await limits.extend(longer, 1, spare=True) is None
    assert await limits.extend(longer, 1) is not None


async def test_an_ended_stream_is_not_extended(limits: LocalLimits) -> None:
    reservation = await admitted(limits, ask(tokens=(Window(100, 60),), estimate=40))
    await limits.settle(reservation, 40)
    assert await limits.extend(reservation, 1) is None


async def test_more_tokens_than_the_share_are_refused_for_a_window(limits: LocalLimits) -> None:
    refused = await limits.reserve(ask(tokens=(Window(100, 60),), estimate=101))
    assert (refused.refused_by, refused.retry_after) == ("tokens", 60)


async def test_running_streams_are_bounded(limits: LocalLimits) -> None:
    """A place is free when its stream ends; a worker's memory ends with it, so nothing needs renewing."""
    first = await admitted(limits, ask(streams=1))
    refused = await limits.reserve(ask(streams=1))
    assert (refused.refused_by, refused.retry_after) == ("streams", 1)
    await limits.renew([first])
    await limits.settle(first, 0)
    await admitted(limits, ask(streams=1))


async def test_a_day_ends_at_midnight_of_its_zone(limits: LocalLimits, clock: Clock) -> None:
    """12:00 UTC is eight in the evening in Shanghai."""
    await admitted(limits, ask(DayQuota(1)))
    refused = await limits.reserve(ask(DayQuota(1)))
    assert (refused.refused_by, refused.retry_after) == ("calendar-day", 4 * 3600)
    clock.now += 4 * 3600
    await admitted(limits, ask(DayQuota(1)))


async def test_scopes_are_bounded(limits: LocalLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked longest ago is forgotten first; settling what was forgotten is no error."""
    monkeypatch.setattr(local, "MAX_SCOPES", 2)
    reservations = [await admitted(limits, ask(Window(1, 60), scope=scope)) for scope in "abc"]
    await admitted(limits, ask(Window(1, 60), scope="a"))
    assert (await limits.reserve(ask(Window(1, 60), scope="c"))).reservation is None
    for reservation in reservations:
        await limits.settle(reservation, 5)


moves = st.tuples(st.floats(-2, 8), st.integers(0, 40))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(moves, min_size=5, max_size=60))
def test_never_more_than_the_limit_in_any_window(io_loop: IOLoop, history: list[tuple[float, int]]) -> None:
    """Whatever the clock does, by its own highest reading."""
    clock = Clock()
    limits = LocalLimits(workers=1, zone=SHANGHAI, clock=clock)
    admitted_at: list[tuple[float, int]] = []
    true_time = 0.0
    for passed, tokens in history:
        clock.now += passed
        true_time += max(passed, 0)
        asked = ask(Window(3, 10), tokens=(Window(100, 20),), estimate=tokens)
        decision = io_loop.run_sync(partial(limits.reserve, asked))
        if decision.reservation:
            admitted_at.append((true_time, tokens))
    for end, _ in admitted_at:
        assert sum(1 for at, _ in admitted_at if end - 9.999 < at <= end) <= 3
        assert sum(n for at, n in admitted_at if end - 19.999 < at <= end) <= 100
