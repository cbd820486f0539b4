"""What a principal is promised of its limits, on real Redis and in memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from streamproxy.domain.limits import Ask, DayQuota, Decision, Limit, LimitPolicy, Reservation, Window
from streamproxy.stores.redis.connect import RedisLink
from streamproxy.stores.redis.limits import RedisLimits
from tests.stores.redis.clock import ClockedLink

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")


def policy(*requests: Limit, tokens: tuple[Limit, ...] = (), streams: int = 0) -> LimitPolicy:
    return LimitPolicy(requests=requests, tokens=tokens, streams=streams)


@pytest.fixture
def limits(clocked: ClockedLink) -> RedisLimits:
    return RedisLimits(clocked, zone=SHANGHAI)


def asked(scope: str, limit_policy: LimitPolicy, tokens: int = 0) -> Ask:
    return Ask(scope, uuid4().hex, limit_policy, tokens)


async def admitted(limits: RedisLimits, ask: Ask) -> Reservation:
    decision = await limits.reserve(ask)
    assert decision.reservation is not None
    return decision.reservation


def set_clock(clocked: ClockedLink, moment: datetime) -> None:
    clocked.now = round(moment.timestamp()) * 1_000_000


async def test_no_limits_admit_everything(limits: RedisLimits, scope: str) -> None:
    """An empty policy has no standings and refuses nobody."""
    decision = await limits.reserve(asked(scope, policy()))
    assert decision.reservation is not None
    assert decision.standings == ()


async def test_the_request_after_the_last_one_is_refused(limits: RedisLimits, scope: str) -> None:
    """N in a window, and the standing says how many are left and when all will be back."""
    limit = policy(Window(2, 30))
    left = [(await limits.reserve(asked(scope, limit))).standings[0].remaining for _ in range(2)]
    assert left == [1, 0]
    refused = await limits.reserve(asked(scope, limit))
    assert (refused.reservation, refused.refused_by, refused.retry_after) == (None, "requests", 30)
    assert (refused.standings[0].limit, refused.standings[0].remaining) == (2, 0)
    assert (refused.standings[0].window_seconds, refused.standings[0].reset_seconds) == (30, 30)


async def test_scopes_do_not_count_against_each_other(limits: RedisLimits, scope: str) -> None:
    limit = policy(Window(1, 30))
    await admitted(limits, asked(scope, limit))
    await admitted(limits, asked(scope + "-other", limit))


async def test_all_limits_or_none(limits: RedisLimits, clocked: ClockedLink, scope: str) -> None:
    """A refusal by one limit takes nothing from the others, however often it is asked for."""
    limit = policy(Window(1, 5), Window(2, 60), DayQuota(2), tokens=(Window(100, 60), DayQuota(100)), streams=2)
    await admitted(limits, asked(scope, limit, 10))
    for _ in range(5):
        refused = await limits.reserve(asked(scope, limit, 10))
        assert refused.refused_by == "requests"
    clocked.advance(5)
    second = await limits.reserve(asked(scope, limit, 10))
    assert second.reservation is not None
    assert [standing.remaining for standing in second.standings] == [0, 0, 0, 80, 80]


async def test_the_longest_wait_is_reported(limits: RedisLimits, clocked: ClockedLink, scope: str) -> None:
    """Several limits refuse: who obeys retry_after passes all of them."""
    limit = policy(Window(1, 5), Window(1, 60), tokens=(Window(10, 30),), streams=1)
    reservation = await admitted(limits, asked(scope, limit, 10))
    refused = await limits.reserve(asked(scope, limit, 10))
    assert (refused.refused_by, refused.retry_after) == ("requests", 60)
    await limits.settle(reservation, 10)
    clocked.advance(60)
    await admitted(limits, asked(scope, limit, 10))


async def test_two_limits_of_one_length_both_hold(limits: RedisLimits, scope: str) -> None:
    limit = policy(Window(2, 30), Window(3, 30))
    await admitted(limits, asked(scope, limit))
    decision = await limits.reserve(asked(scope, limit))
    assert [standing.remaining for standing in decision.standings] == [0, 1]


async def test_a_repeated_ask_counts_once_and_answers_the_same(limits: RedisLimits, scope: str) -> None:
    """Clients and connections repeat themselves; a request id is one request."""
    ask = asked(scope, policy(Window(2, 30), DayQuota(5), tokens=(Window(100, 60),), streams=1), 40)
    first, *again = [await limits.reserve(ask) for _ in range(3)]
    assert first.reservation is not None
    assert {decision.reservation for decision in again} == {first.reservation}
    assert [standing.remaining for standing in again[-1].standings] == [1, 4, 60]


async def test_a_repeated_ask_after_the_end_takes_nothing(limits: RedisLimits, scope: str) -> None:
    ask = asked(scope, policy(Window(2, 30), streams=1))
    reservation = await admitted(limits, ask)
    await limits.settle(reservation, 0)
    assert (await limits.reserve(ask)).reservation == reservation
    await admitted(limits, asked(scope, ask.policy))


async def test_refund_gives_back_everything_once(limits: RedisLimits, scope: str) -> None:
    """Request, tokens, day and place; a second refund finds nothing to give."""
    limit = policy(Window(2, 30), DayQuota(2), tokens=(Window(100, 60), DayQuota(200)), streams=2)
    kept, returned = [await admitted(limits, asked(scope, limit, 30)) for _ in range(2)]
    for _ in range(2):
        await limits.refund(returned)
    decision = await limits.reserve(asked(scope, limit, 30))
    assert decision.reservation is not None
    assert [standing.remaining for standing in decision.standings] == [0, 0, 40, 140]
    await limits.settle(kept, 30)


async def test_a_refunded_request_may_ask_again(limits: RedisLimits, scope: str) -> None:
    ask = asked(scope, policy(Window(1, 30)))
    await limits.refund(await admitted(limits, ask))
    await admitted(limits, ask)
    assert (await limits.reserve(asked(scope, ask.policy))).reservation is None


@pytest.mark.parametrize(("used", "left"), [(0, 100), (15, 85), (40, 60), (130, 0)])
async def test_settle_counts_what_was_really_used(limits: RedisLimits, scope: str, used: int, left: int) -> None:
    """Less than reserved goes back; more is counted too, once."""
    limit = policy(tokens=(Window(100, 60), DayQuota(100)))
    reservation = await admitted(limits, asked(scope, limit, 40))
    for _ in range(2):
        await limits.settle(reservation, used)
    decision = await limits.reserve(asked(scope, limit, 0))
    assert [standing.remaining for standing in decision.standings] == [left, left]


async def test_five_asks_of_sixty_tokens_against_a_hundred_admit_one(limits: RedisLimits, scope: str) -> None:
    limit = policy(tokens=(Window(100, 60),))
    decisions = await asyncio.gather(*(limits.reserve(asked(scope, limit, 60)) for _ in range(5)))
    assert sum(1 for decision in decisions if decision.reservation) == 1
    assert {decision.refused_by for decision in decisions} == {None, "tokens"}


async def test_more_tokens_than_the_limit_are_refused_for_a_whole_window(limits: RedisLimits, scope: str) -> None:
    refused = await limits.reserve(asked(scope, policy(tokens=(Window(100, 60),)), 101))
    assert (refused.refused_by, refused.retry_after) == ("tokens", 60)


async def test_tokens_leave_with_their_bucket(limits: RedisLimits, clocked: ClockedLink, scope: str) -> None:
    """Never before they are a window old, and at most a sixtieth of the window after."""
    limit = policy(tokens=(Window(100, 600),))
    clocked.advance(3)
    await admitted(limits, asked(scope, limit, 100))
    refused = await limits.reserve(asked(scope, limit, 100))
    assert refused.retry_after == 607
    clocked.advance(refused.retry_after)
    await admitted(limits, asked(scope, limit, 100))


async def test_extend_takes_more_until_there_is_no_room(limits: RedisLimits, scope: str) -> None:
    limit = policy(Window(5, 60), tokens=(Window(100, 60), DayQuota(1000)), streams=1)
    reservation = await admitted(limits, asked(scope, limit, 40))
    longer = await limits.extend(reservation, 50)
    assert longer is not None
    assert longer.ask.tokens == 90
    assert await limits.extend(longer, 20) is None
    assert (await limits.reserve(longer.ask)).standings[0].remaining == 4
    await limits.refund(longer)
    standings = (await limits.reserve(asked(scope, limit, 0))).standings
    assert [standing.remaining for standing in standings] == [4, 100, 1000]


async def test_what_is_spare_leaves_half_of_every_window(limits: RedisLimits, scope: str) -> None:
    limit = policy(Window(5, 60), tokens=(Window(100, 60), Window(1000, 600), DayQuota(1000)))
    reservation = await admitted(limits, asked(scope, limit, 40))
    assert await limits.extend(reservation, 11, spare=True) is None
    longer = await limits.extend(reservation, 10, spare=True)
    assert longer is not None
    assert longer.ask.tokens == 50
    assert await limits.extend(longer, 1, spare=True) is None
    assert await limits.extend(longer, 1) is not None
    await limits.settle(longer, 45)
    standings = (await limits.reserve(asked(scope, limit, 0))).standings
    # The last extension is settled by nobody here.
    assert [standing.remaining for standing in standings] == [3, 54, 954, 954]


WINDOWS = (Window(100, 60), Window(1000, 600), DayQuota(100))


@pytest.mark.parametrize(("spare", "held"), [(10, 50), (11, 40)])
async def test_an_ask_takes_its_spare_only_where_half_of_every_window_stays_free(
    limits: RedisLimits, scope: str, spare: int, held: int
) -> None:
    """It counts as remaining, is named again to who asks again, and goes back with the rest."""
    ask = replace(asked(scope, policy(Window(5, 60), tokens=WINDOWS), 40), spare=spare)
    decisions = [await limits.reserve(ask) for _ in range(2)]
    assert [d.reservation.ask.tokens for d in decisions if d.reservation] == [held, held]
    assert [standing.remaining for standing in decisions[0].standings] == [4, 60, 960, 60]
    more = await limits.reserve(asked(scope, ask.policy, 0))
    assert [standing.remaining for standing in more.standings] == [3, 100 - held, 1000 - held, 100 - held]
    assert decisions[1].reservation is not None
    await limits.settle(decisions[1].reservation, 45)
    after = await limits.reserve(asked(scope, ask.policy, 0))
    assert [standing.remaining for standing in after.standings] == [2, 55, 955, 55]


async def test_what_was_taken_to_spare_can_be_extended_and_refunded(limits: RedisLimits, scope: str) -> None:
    limit = policy(tokens=WINDOWS)
    ask = replace(asked(scope, limit, 20), spare=20)
    longer = await limits.extend(await admitted(limits, ask), 50)
    assert longer is not None
    assert longer.ask.tokens == 90
    await limits.refund(longer)
    assert [s.remaining for s in (await limits.reserve(asked(scope, limit, 0))).standings] == [100, 1000, 100]


async def test_who_asks_again_after_the_end_is_told_all_that_was_held(limits: RedisLimits, scope: str) -> None:
    """In pieces, and at two times: it takes nothing any more."""
    ask = replace(asked(scope, policy(tokens=WINDOWS), 20), spare=20)
    longer = await limits.extend(await admitted(limits, ask), 50)
    assert longer is not None
    await limits.settle(longer, 30)
    assert (await admitted(limits, ask)).ask.tokens == 90
    assert [s.remaining for s in (await limits.reserve(ask)).standings] == [70, 970, 70]


async def test_nobody_is_refused_for_want_of_spare(limits: RedisLimits, scope: str) -> None:
    reservation = await admitted(limits, replace(asked(scope, policy(tokens=WINDOWS), 100), spare=1))
    assert reservation.ask.tokens == 100


async def test_a_repeated_extension_takes_once(limits: RedisLimits, scope: str) -> None:
    reservation = await admitted(limits, asked(scope, policy(tokens=(Window(100, 60),)), 40))
    first, again = [await limits.extend(reservation, 30) for _ in range(2)]
    assert first == again
    assert first is not None
    assert await limits.extend(first, 30) is not None


async def test_extend_without_token_limits_only_notes_the_tokens(limits: RedisLimits, scope: str) -> None:
    reservation = await admitted(limits, asked(scope, policy(Window(5, 60)), 40))
    longer = await limits.extend(reservation, 50)
    assert longer == replace(reservation, ask=replace(reservation.ask, tokens=90))


async def test_what_is_too_much_goes_back_newest_first(limits: RedisLimits, clocked: ClockedLink, scope: str) -> None:
    """Tokens taken early were used early: they stay where they were taken."""
    limit = policy(tokens=(Window(100, 60),))
    reservation = await admitted(limits, asked(scope, limit, 40))
    clocked.advance(30)
    longer = await limits.extend(reservation, 50)
    assert longer is not None
    await limits.settle(longer, 30)
    clocked.advance(30)
    assert (await limits.reserve(asked(scope, limit, 0))).standings[0].remaining == 70
    clocked.advance(1)
    assert (await limits.reserve(asked(scope, limit, 0))).standings[0].remaining == 100


async def test_a_late_settlement_changes_no_later_window(limits: RedisLimits, clocked: ClockedLink, scope: str) -> None:
    """A stream that outlives the window settles tokens that have left it: nothing is given back twice."""
    limit = policy(tokens=(Window(100, 60),))
    old = await admitted(limits, asked(scope, limit, 90))
    clocked.advance(61)
    await admitted(limits, asked(scope, limit, 50))
    await limits.settle(old, 0)
    assert (await limits.reserve(asked(scope, limit, 0))).standings[0].remaining == 50


async def test_a_day_ends_at_midnight_of_its_zone(limits: RedisLimits, clocked: ClockedLink, scope: str) -> None:
    """20:00 UTC is four in the morning in Shanghai: the day has 20 hours to go, and then starts anew."""
    limit = policy(DayQuota(2), tokens=(DayQuota(100),))
    set_clock(clocked, datetime(2027, 3, 1, 20, tzinfo=UTC))
    for _ in range(2):
        await admitted(limits, asked(scope, limit, 50))
    refused = await limits.reserve(asked(scope, limit, 50))
    assert (refused.refused_by, refused.retry_after) == ("calendar-day", 20 * 3600)
    clocked.advance(refused.retry_after - 0.000001)
    assert (await limits.reserve(asked(scope, limit, 50))).reservation is None
    clocked.advance(0.000001)
    fresh = await limits.reserve(asked(scope, limit, 50))
    assert [standing.remaining for standing in fresh.standings] == [1, 50]


@pytest.mark.parametrize(("month", "day", "hours"), [(3, 28, 23), (10, 31, 25), (6, 1, 24)])
async def test_days_with_a_clock_change_are_whole_days(
    clocked: ClockedLink, scope: str, month: int, day: int, hours: int
) -> None:
    """Berlin, 2027: the day that is an hour short or long still ends at its midnight."""
    limits = RedisLimits(clocked, zone=BERLIN)
    set_clock(clocked, datetime(2027, month, day, 0, 0, tzinfo=BERLIN))
    limit = policy(DayQuota(1))
    decision = await limits.reserve(asked(scope, limit))
    assert decision.standings[0].window_seconds == hours * 3600
    assert (await limits.reserve(asked(scope, limit))).retry_after == hours * 3600


async def test_yesterdays_stream_settles_yesterday(limits: RedisLimits, clocked: ClockedLink, scope: str) -> None:
    limit = policy(tokens=(DayQuota(100),))
    set_clock(clocked, datetime(2027, 3, 1, 15, 59, 50, tzinfo=UTC))
    old = await admitted(limits, asked(scope, limit, 90))
    clocked.advance(20)
    await admitted(limits, asked(scope, limit, 60))
    await limits.settle(old, 0)
    assert (await limits.reserve(asked(scope, limit, 0))).standings[0].remaining == 40


async def test_running_streams_are_bounded(limits: RedisLimits, scope: str) -> None:
    """A full house says come back in a second; whoever ends makes room."""
    limit = policy(streams=2)
    first, _ = [await admitted(limits, asked(scope, limit)) for _ in range(2)]
    refused = await limits.reserve(asked(scope, limit))
    assert (refused.refused_by, refused.retry_after) == ("streams", 1)
    await limits.settle(first, 0)
    await admitted(limits, asked(scope, limit))


async def test_a_place_that_nobody_renews_is_free_again(limits: RedisLimits, clocked: ClockedLink, scope: str) -> None:
    """A killed worker's streams give way after their lease; a living one's stay."""
    limit = policy(streams=2)
    living, _ = [await admitted(limits, asked(scope, limit)) for _ in range(2)]
    clocked.advance(11)
    await limits.renew([living])
    clocked.advance(1)
    await admitted(limits, asked(scope, limit))
    assert (await limits.reserve(asked(scope, limit))).refused_by == "streams"


async def test_renew_puts_back_a_place_that_ran_out(limits: RedisLimits, clocked: ClockedLink, scope: str) -> None:
    """Redis stood still for longer than the lease: the streams that went on still hold their places."""
    limit = policy(streams=1)
    running = await admitted(limits, asked(scope, limit))
    clocked.advance(60)
    await limits.renew([running])
    assert (await limits.reserve(asked(scope, limit))).refused_by == "streams"


async def test_a_late_renewal_does_not_revive_an_ended_stream(limits: RedisLimits, scope: str) -> None:
    limit = policy(streams=1)
    ended = await admitted(limits, asked(scope, limit))
    await limits.settle(ended, 0)
    await limits.renew([ended])
    await admitted(limits, asked(scope, limit))


async def test_a_new_count_goes_on_with_the_old_window(limits: RedisLimits, clocked: ClockedLink, scope: str) -> None:
    """Settings changed from 4 to 2 to 6 in a minute: what was used stays used."""
    for _ in range(4):
        await admitted(limits, asked(scope, policy(Window(4, 60))))
        clocked.advance(1)
    assert (await limits.reserve(asked(scope, policy(Window(2, 60))))).retry_after == 58
    decisions = [await limits.reserve(asked(scope, policy(Window(6, 60)))) for _ in range(3)]
    assert [decision.reservation is not None for decision in decisions] == [True, True, False]
    assert decisions[2].retry_after == 56


async def test_sixty_four_at_once_never_get_more_than_the_limit(link: RedisLink, scope: str) -> None:
    """On the real clock: exactly N of 64 concurrent asks, and the refused may come when they are told."""
    limits = RedisLimits(link, zone=SHANGHAI)
    limit = policy(Window(10, 3600), DayQuota(1000), tokens=(Window(10_000, 3600),), streams=50)
    decisions: list[Decision] = await asyncio.gather(*(limits.reserve(asked(scope, limit, 7)) for _ in range(64)))
    assert sum(1 for decision in decisions if decision.reservation) == 10
    assert all(0 < decision.retry_after <= 3600 for decision in decisions if decision.reservation is None)


async def test_nothing_stays_for_ever(link: RedisLink, limits: RedisLimits, scope: str) -> None:
    """Every key of a limit has an end of life, so that principals who left cost nothing."""
    limit = policy(Window(5, 60), DayQuota(5), tokens=(Window(100, 60), DayQuota(100)), streams=2)
    reservation = await admitted(limits, asked(scope, limit, 5))
    await limits.renew([reservation])
    await limits.extend(reservation, 5)
    await limits.settle(reservation, 5)
    keys = await link.command("KEYS", f"sp:{{{scope}}}:*")
    assert len(keys) >= 6
    assert all([await link.command("PTTL", key) > 0 for key in keys])
