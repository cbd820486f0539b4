"""Any history of asks, extensions, ends, refunds and changed settings: the scripts decide as the definition does."""

from __future__ import annotations

from uuid import uuid4
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from streamproxy.domain.limits import Ask, LimitPolicy, Reservation, Window
from streamproxy.stores.redis.limits import RedisLimits
from tests.stores.redis.clock import ClockedLink
from tests.stores.redis.oracle import SECOND, Entry, Oracle

UTC = ZoneInfo("UTC")
# Two policies over the same windows: the settings change while the counts go on.
POLICIES = [
    LimitPolicy(requests=(Window(3, 10), Window(5, 30)), tokens=(Window(100, 20), Window(300, 120))),
    LimitPolicy(requests=(Window(2, 10), Window(7, 30)), tokens=(Window(140, 20), Window(250, 120))),
]

EDGES = [0, 1, SECOND, 2 * SECOND, 4 * SECOND, 10 * SECOND - 1, 10 * SECOND, 20 * SECOND]
waits = st.tuples(st.just("wait"), st.sampled_from(EDGES) | st.integers(0, 35 * SECOND))
asks = st.tuples(st.just("reserve"), st.integers(0, 60))
extensions = st.tuples(st.just("extend"), st.integers(1, 40))
settlements = st.tuples(st.just("settle"), st.integers(0, 90))
refunds = st.tuples(st.just("refund"), st.integers(0, 3))
changes = st.tuples(st.just("policy"), st.integers(0, 1))
steps = st.one_of(waits, asks, waits, asks, extensions, settlements, refunds, changes)


class History:
    """One scope's history, told to the scripts and to the oracle at once."""

    def __init__(self, clocked: ClockedLink) -> None:
        self.clock = clocked
        self.limits = RedisLimits(clocked, zone=UTC)
        self.oracle = Oracle()
        self.scope = uuid4().hex
        self.policy = POLICIES[0]
        self.running: list[tuple[Reservation, Entry]] = []

    async def step(self, verb: str, number: int) -> None:
        if verb == "wait":
            self.clock.now += number
        elif verb == "policy":
            self.policy = POLICIES[number]
        elif verb == "reserve":
            await self.reserve(number)
        elif self.running:
            await getattr(self, verb)(number)

    async def reserve(self, tokens: int) -> None:
        ask = Ask(self.scope, uuid4().hex, self.policy, tokens)
        room = self.oracle.room(self.policy, self.clock.now, tokens)
        decision = await self.limits.reserve(ask)
        assert (decision.reservation is not None) == room
        if decision.reservation is not None:
            self.running.append((decision.reservation, self.oracle.take(self.clock.now, tokens)))
        remaining = [standing.remaining for standing in decision.standings]
        assert remaining == self.oracle.remaining(self.policy, self.clock.now)
        if decision.reservation is None:
            await self.check_retry_after(ask, round(decision.retry_after * SECOND))

    async def check_retry_after(self, ask: Ask, wait: int) -> None:
        """Admitted after exactly that long, refused a microsecond earlier."""
        now = self.clock.now
        assert wait > 0
        self.clock.now = now + wait - 1
        assert (await self.limits.reserve(ask)).reservation is None
        self.clock.now = now + wait
        decision = await self.limits.reserve(ask)
        assert decision.reservation is not None
        self.running.append((decision.reservation, self.oracle.take(self.clock.now, ask.tokens)))

    async def extend(self, tokens: int) -> None:
        reservation, entry = self.running.pop()
        policy = reservation.ask.policy
        room = self.oracle.room(policy, self.clock.now, tokens, request=False)
        longer = await self.limits.extend(reservation, tokens)
        assert (longer is not None) == room
        if longer is not None:
            self.oracle.extend(entry, self.clock.now, tokens)
        self.running.append((longer or reservation, entry))

    async def settle(self, tokens: int) -> None:
        reservation, entry = self.running.pop(0)
        self.oracle.settle(entry, tokens)
        for _ in range(2):
            await self.limits.settle(reservation, tokens)

    async def refund(self, index: int) -> None:
        reservation, entry = self.running.pop(index % len(self.running))
        self.oracle.refund(entry)
        for _ in range(2):
            await self.limits.refund(reservation)


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, min_size=8, max_size=50))
def test_limits_decide_as_their_definition_says(
    clocked: ClockedLink, io_loop: IOLoop, history: list[tuple[str, int]]
) -> None:
    """Whatever happened before: the same admissions, and a retry_after exact to the microsecond."""

    async def live() -> None:
        told = History(clocked)
        for verb, number in history:
            await told.step(verb, number)

    io_loop.run_sync(live)


moves = st.tuples(st.integers(0, 6 * SECOND), st.integers(0, 3 * SECOND), st.integers(0, 40), st.booleans())


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(moves, min_size=10, max_size=60))
def test_a_clock_that_steps_back_admits_no_more(
    clocked: ClockedLink, io_loop: IOLoop, history: list[tuple[int, int, int, bool]]
) -> None:
    """By a clock that runs on, at most N in any window, however often the one of Redis is set back."""
    policy = LimitPolicy(requests=(Window(3, 10),), tokens=(Window(100, 20),))

    async def live() -> None:
        told = History(clocked)
        true_time, admitted = 0, []
        for passed, back, tokens, refund in history:
            true_time += passed
            clocked.now += passed - back
            decision = await told.limits.reserve(Ask(told.scope, uuid4().hex, policy, tokens))
            if decision.reservation and refund:
                await told.limits.refund(decision.reservation)
            elif decision.reservation:
                admitted.append((true_time, tokens))
        for end, _ in admitted:
            assert sum(1 for at, _ in admitted if end - 10 * SECOND < at <= end) <= 3
            assert sum(tokens for at, tokens in admitted if end - 20 * SECOND < at <= end) <= 100

    io_loop.run_sync(live)
