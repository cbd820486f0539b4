"""Leases on keys: trials, rests, limits, and what workers tell each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streamproxy.domain.keypool import KeyState, Verdict
from streamproxy.domain.keystates import FAILURES_IN_A_ROW
from streamproxy.domain.limits import LimitPolicy, Window
from streamproxy.domain.ports import StoredKey
from streamproxy.errors import NoKeyAvailableError, NotFoundError
from streamproxy.services.keybook import PROOF_SECONDS
from streamproxy.services.keys import TRIAL_SECONDS, Lease
from streamproxy.stores.redis.connect import RedisLink, open_redis
from streamproxy.stores.sql.keys import SqlKeys
from tests.services.keys.conftest import Clock, NewWorker, Worker, upstream_with

DEAD = Verdict(KeyState.DISABLED, None, "invalid_api_key")
HOT = Verdict(KeyState.COOLING, 20, "upstream_rate_limited")
BROKE = Verdict(KeyState.PARKED, 3600, "insufficient_quota")


async def good_call(worker: Worker) -> None:
    lease = await worker.pool.lease(worker.offered)
    lease.accepted()
    await lease.give_back()


async def bad_call(worker: Worker, verdict: Verdict | None = None, error: str = "upstream_error") -> None:
    await (await worker.pool.lease(worker.offered)).give_back(verdict, error=error)


async def waiting(worker: Worker) -> asyncio.Task[Lease]:
    """A lease that is asked for and not granted yet."""
    task = asyncio.create_task(worker.pool.lease(worker.offered))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


# -- trials ---------------------------------------------------------------------------------------------


async def test_a_key_that_answered_nobody_yet_is_tried_by_one_request(new_worker: NewWorker) -> None:
    worker = await new_worker(upstream_with("aaaa"))
    first = await worker.pool.lease(worker.offered)
    others = [await waiting(worker) for _ in range(10)]
    first.accepted()
    assert len(await asyncio.gather(*others)) == 10


async def test_who_waited_for_a_key_that_turned_out_dead_is_told_so(new_worker: NewWorker) -> None:
    worker = await new_worker(upstream_with("aaaa"))
    first = await worker.pool.lease(worker.offered)
    other = await waiting(worker)
    await first.give_back(DEAD, error="upstream_key_refused")
    with pytest.raises(NoKeyAvailableError):
        await other


async def test_a_client_that_leaves_during_a_trial_passes_it_on(new_worker: NewWorker) -> None:
    worker = await new_worker(upstream_with("aaaa"))
    first = await worker.pool.lease(worker.offered)
    second = await waiting(worker)
    await first.give_back()
    await second
    third = await waiting(worker)
    third.cancel()
    assert worker.watch.calls == []


async def test_nobody_waits_for_a_trial_that_lasts(new_worker: NewWorker, clock: Clock) -> None:
    """A bad key is refused before the model begins to think."""
    worker = await new_worker(upstream_with("aaaa"))
    await worker.pool.lease(worker.offered)
    clock.now += TRIAL_SECONDS
    await asyncio.gather(*(worker.pool.lease(worker.offered) for _ in range(10)))


async def test_a_key_that_was_idle_for_long_proves_itself_again(new_worker: NewWorker, clock: Clock) -> None:
    worker = await new_worker(upstream_with("aaaa"))
    await good_call(worker)
    await asyncio.gather(*(worker.pool.lease(worker.offered) for _ in range(3)))
    clock.now += PROOF_SECONDS
    await worker.pool.lease(worker.offered)
    (await waiting(worker)).cancel()


async def test_a_retry_takes_a_key_that_has_proved_itself(new_worker: NewWorker) -> None:
    worker = await new_worker(upstream_with("aaaa", "bbbb", "cccc"))
    proved = await worker.pool.lease(worker.offered)
    proved.accepted()
    tried = {next(c.key.id for c in worker.offered if c != proved.candidate)}
    again = [await worker.pool.lease(worker.offered, tried=tried) for _ in range(3)]
    assert all(lease.candidate.key.id == proved.candidate.key.id for lease in again)


async def test_a_request_that_stops_waiting_leaves_nothing_behind(new_worker: NewWorker) -> None:
    worker = await new_worker(upstream_with("aaaa"))
    first = await worker.pool.lease(worker.offered)
    other = await waiting(worker)
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    await first.give_back()
    await good_call(worker)


# -- rests ----------------------------------------------------------------------------------------------


async def test_an_upstream_that_keeps_failing_rests_longer_each_time(new_worker: NewWorker, clock: Clock) -> None:
    worker = await new_worker(upstream_with("aaaa"))
    for _ in range(FAILURES_IN_A_ROW - 1):
        await bad_call(worker)
    assert await worker.state("aaaa") is KeyState.HEALTHY
    await bad_call(worker)
    for seconds in (1, 2, 4):
        with pytest.raises(NoKeyAvailableError) as refused:
            await worker.pool.lease(worker.offered)
        assert refused.value.retry_after == seconds
        clock.now += seconds
        await bad_call(worker)
    clock.now += 8
    await good_call(worker)
    assert await worker.state("aaaa") is KeyState.HEALTHY
    await bad_call(worker)
    assert await worker.state("aaaa") is KeyState.HEALTHY


async def test_a_good_answer_in_between_makes_failures_begin_anew(new_worker: NewWorker) -> None:
    worker = await new_worker(upstream_with("aaaa"))
    for _ in range(3):
        for _ in range(FAILURES_IN_A_ROW - 1):
            await bad_call(worker)
        await good_call(worker)
    assert await worker.state("aaaa") is KeyState.HEALTHY


async def test_what_concerns_the_request_alone_rests_no_key(new_worker: NewWorker) -> None:
    """A model or region that a key may not use says nothing about its next request."""
    worker = await new_worker(upstream_with("aaaa"))
    for _ in range(3 * FAILURES_IN_A_ROW):
        await bad_call(worker, error="upstream_key_refused")
    assert await worker.state("aaaa") is KeyState.HEALTHY
    assert len(worker.watch.errors) == 3 * FAILURES_IN_A_ROW


async def test_the_wait_is_that_of_the_key_that_is_back_first(new_worker: NewWorker) -> None:
    worker = await new_worker(upstream_with("aaaa"), upstream_with("bbbb", name="two", priority=1))
    await bad_call(worker, BROKE)
    await bad_call(worker, HOT)
    with pytest.raises(NoKeyAvailableError) as refused:
        await worker.pool.lease(worker.offered)
    assert refused.value.retry_after == 20


async def test_an_unknown_model_is_not_found(new_worker: NewWorker) -> None:
    worker = await new_worker()
    with pytest.raises(NotFoundError):
        worker.pool.offered("gpt-4o")


# -- limits ---------------------------------------------------------------------------------------------


async def test_a_full_key_is_passed_over_and_not_rested(new_worker: NewWorker) -> None:
    worker = await new_worker(upstream_with("aaaa", "bbbb"), limits=LimitPolicy(requests=(Window(1, 3600),)))
    for _ in range(2):
        await good_call(worker)
    with pytest.raises(NoKeyAvailableError) as refused:
        await worker.pool.lease(worker.offered)
    assert 3590 < (refused.value.retry_after or 0) <= 3600
    assert sorted(worker.watch.calls) == ["aaaa", "bbbb"]
    assert await worker.state("aaaa") is await worker.state("bbbb") is KeyState.HEALTHY


async def test_places_are_shared_by_all_workers_and_come_back(new_worker: NewWorker) -> None:
    upstream = upstream_with("aaaa")
    one, two = [await new_worker(upstream, limits=LimitPolicy(streams=1)) for _ in range(2)]
    lease = await one.pool.lease(one.offered)
    with pytest.raises(NoKeyAvailableError):
        await two.pool.lease(two.offered)
    await lease.give_back()
    await one.pool.lease(one.offered)


async def test_tokens_are_counted_only_where_a_key_has_a_window_for_them(new_worker: NewWorker) -> None:
    async def sixty() -> int:
        return 60

    async def never() -> int:
        raise AssertionError("nobody needs to know")

    free = await new_worker(upstream_with("aaaa"))
    await free.pool.lease(free.offered, tokens=never)
    counted = await new_worker(upstream_with("bbbb"), limits=LimitPolicy(tokens=(Window(100, 3600),)))
    lease = await counted.pool.lease(counted.offered, tokens=sixty)
    lease.accepted()
    with pytest.raises(NoKeyAvailableError):
        await counted.pool.lease(counted.offered, tokens=sixty)
    await lease.give_back(tokens=10)
    await counted.pool.lease(counted.offered, tokens=sixty)


async def test_what_never_reached_the_provider_is_given_back(new_worker: NewWorker) -> None:
    worker = await new_worker(upstream_with("aaaa"), limits=LimitPolicy(requests=(Window(1, 3600),)))
    lease = await worker.pool.lease(worker.offered)
    await lease.give_back(error="upstream_unreachable", sent=False)
    await worker.pool.lease(worker.offered)


# -- workers ----------------------------------------------------------------------------------------------


async def test_what_one_worker_finds_out_the_others_know(new_worker: NewWorker) -> None:
    upstream = upstream_with("aaaa", "bbbb")
    one, two = await new_worker(upstream), await new_worker(upstream)
    await bad_call(one, DEAD)
    await bad_call(one, HOT)
    await two.pool.refresh()
    with pytest.raises(NoKeyAvailableError):
        await two.pool.lease(two.offered)
    assert two.watch.calls == []


async def test_a_redis_that_lost_its_data_learns_them_again(new_worker: NewWorker, link: RedisLink) -> None:
    upstream = upstream_with("aaaa")
    one, two = await new_worker(upstream), await new_worker(upstream)
    await bad_call(one, DEAD)
    await link.command("FLUSHALL")
    await one.pool.refresh()
    assert await two.state("aaaa") is KeyState.DISABLED


async def test_without_redis_a_worker_goes_on_by_what_it_knows(new_worker: NewWorker, tmp_path: Path) -> None:
    gone = await open_redis(f"unix://{tmp_path}/nobody.sock")
    worker = await new_worker(upstream_with("aaaa", "bbbb"), redis=gone)
    await bad_call(worker, DEAD)
    assert await worker.state("aaaa") is KeyState.DISABLED
    await good_call(worker)
    await gone.close()


async def test_counts_are_shared(new_worker: NewWorker) -> None:
    upstream = upstream_with("aaaa")
    one, two = await new_worker(upstream), await new_worker(upstream)
    for worker in (one, two):
        await good_call(worker)
        await bad_call(worker, error="upstream_quota")
        await worker.pool.refresh()
    (tally,) = (await one.states.tallies([upstream.keys[0].id])).values()
    assert (tally.requests, tally.errors, tally.last_error) == (4, 2, "upstream_quota")


# -- what people change -----------------------------------------------------------------------------------


async def test_a_held_key_is_not_offered_until_it_is_released(new_worker: NewWorker, key_store: SqlKeys) -> None:
    worker = await new_worker(upstream_with("aaaa"))
    key = worker.offered[0].key
    await key_store.hold(key.id)
    await worker.pool.reload()
    with pytest.raises(NoKeyAvailableError):
        await worker.pool.lease(worker.offered)
    assert await worker.state("aaaa") is KeyState.DISABLED
    await key_store.release(key.id)
    await worker.pool.reload()
    await good_call(worker)


async def test_a_stored_key_joins_its_upstream_and_opens_the_spare_one(
    new_worker: NewWorker, key_store: SqlKeys
) -> None:
    """The default upstream needs no setting but a key."""
    worker = await new_worker(upstream_with("aaaa"))
    own = LimitPolicy(streams=7)
    await key_store.add(StoredKey("k1", "one", "sk-another-one-bbbb", "bbbb", weight=5, limits=own))
    await key_store.add(StoredKey("k2", "spare", "sk-another-one-cccc", "cccc"))
    await worker.pool.reload()
    found = {c.key.last4: (c.upstream.name, c.key.weight, c.key.limits.streams) for c in worker.offered}
    assert found == {"aaaa": ("one", 1, 0), "bbbb": ("one", 5, 7), "cccc": ("spare", 1, 0)}
    assert [u.name for u in worker.met[-1]] == ["one", "spare"]
