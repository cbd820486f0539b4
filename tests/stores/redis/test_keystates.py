"""States and counts of provider keys are shared by all workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from streamproxy.domain.keypool import HEALTHY, KeyState, KeyStatus
from streamproxy.domain.keystates import Rule, Tally
from streamproxy.errors import StoreUnavailableError
from streamproxy.stores.redis import KEY_STATES, KEY_TALLIES
from streamproxy.stores.redis.connect import Argument, RedisLink
from streamproxy.stores.redis.keystates import MAX_TRIES, RedisKeyStates
from streamproxy.stores.redis.scripts import Script


def becomes(status: KeyStatus) -> Rule:
    return lambda _old: status


@pytest.mark.parametrize("state", list(KeyState))
async def test_what_one_worker_reports_the_others_load(link: RedisLink, state: KeyState) -> None:
    key = uuid4().hex
    status = KeyStatus(state, 1_800_000_000.25, "insufficient_quota", "你欠费了", 1_799_999_999.5, 3)
    await RedisKeyStates(link).change(key, becomes(status))
    assert await RedisKeyStates(link).load([key]) == {key: status}


async def test_a_key_nobody_reported_on_is_missing(link: RedisLink) -> None:
    known, unknown = uuid4().hex, uuid4().hex
    states = RedisKeyStates(link)
    await states.change(known, becomes(KeyStatus(KeyState.DISABLED, reason="invalid_api_key")))
    assert set(await states.load([unknown, known])) == {known}
    assert await states.load([]) == {}


async def test_changes_at_the_same_time_lose_nothing(link: RedisLink) -> None:
    """Each rule is applied to what the one before it left, however many workers change a key at once."""
    key, states = uuid4().hex, RedisKeyStates(link)

    def adds(letter: str) -> Rule:
        return lambda old: replace(old, message=old.message + letter)

    await asyncio.gather(*(states.change(key, adds(letter)) for letter in "abcdefgh"))
    assert sorted((await states.load([key]))[key].message) == list("abcdefgh")


async def test_a_rule_that_changes_nothing_writes_nothing(link: RedisLink) -> None:
    key, states = uuid4().hex, RedisKeyStates(link)
    assert await states.change(key, lambda old: old) == HEALTHY
    assert await states.load([key]) == {}


class MeddlingLink(RedisLink):
    """A link whose scripts always come a moment after somebody else's write."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self.runs = 0

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        self.runs += 1
        await self._link.command("HSET", KEY_STATES, args[0], f'{{"setbacks":{self.runs}}}')
        return await self._link.run(script, keys, args)

    async def command(self, *args: Argument) -> Any:
        return await self._link.command(*args)


async def test_a_race_that_cannot_be_won_ends(link: RedisLink) -> None:
    meddling = MeddlingLink(link)
    with pytest.raises(StoreUnavailableError):
        await RedisKeyStates(meddling).change(uuid4().hex, lambda old: replace(old, message=old.message + "x"))
    assert meddling.runs == MAX_TRIES


async def test_reports_do_not_stay_for_ever(link: RedisLink) -> None:
    states, key = RedisKeyStates(link), uuid4().hex
    await states.change(key, becomes(KeyStatus(KeyState.PARKED)))
    await states.count({key: Tally(1)})
    assert 0 < await link.command("PTTL", KEY_STATES) <= 31 * 86_400_000
    assert 0 < await link.command("PTTL", KEY_TALLIES) <= 31 * 86_400_000


async def test_one_worker_at_a_time_may_probe_a_key(link: RedisLink) -> None:
    key, other = uuid4().hex, uuid4().hex
    states = RedisKeyStates(link)
    won = await asyncio.gather(*(RedisKeyStates(link).claim(key, 60) for _ in range(4)))
    assert sorted(won) == [False, False, False, True]
    assert await states.claim(other, 60) is True


async def test_counts_of_all_workers_add_up_and_the_last_error_stays(link: RedisLink) -> None:
    key, unused = uuid4().hex, uuid4().hex
    states = RedisKeyStates(link)
    await states.count({key: Tally(3, 1, "upstream_error", 1_800_000_000.5)})
    await RedisKeyStates(link).count({key: Tally(2)})
    await states.count({})
    assert await states.tallies([key, unused]) == {key: Tally(5, 1, "upstream_error", 1_800_000_000.5)}
    assert await states.tallies([]) == {}
