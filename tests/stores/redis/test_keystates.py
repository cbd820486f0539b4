"""States of provider keys are shared by all workers."""

from __future__ import annotations

from uuid import uuid4

import pytest

from streamproxy.domain.keypool import KeyState, KeyStatus
from streamproxy.stores.redis import KEY_STATES
from streamproxy.stores.redis.connect import RedisLink
from streamproxy.stores.redis.keystates import RedisKeyStates


@pytest.mark.parametrize("state", list(KeyState))
async def test_what_one_worker_reports_the_others_load(link: RedisLink, state: KeyState) -> None:
    key = uuid4().hex
    status = KeyStatus(state, 1_800_000_000.25, "insufficient_quota")
    await RedisKeyStates(link).report(key, status)
    assert await RedisKeyStates(link).load([key]) == {key: status}


async def test_a_key_nobody_reported_on_is_missing(link: RedisLink) -> None:
    known, unknown = uuid4().hex, uuid4().hex
    states = RedisKeyStates(link)
    await states.report(known, KeyStatus(KeyState.DISABLED, reason="invalid_api_key"))
    assert set(await states.load([unknown, known])) == {known}
    assert await states.load([]) == {}


async def test_the_last_report_wins(link: RedisLink) -> None:
    key, states = uuid4().hex, RedisKeyStates(link)
    for state in (KeyState.COOLING, KeyState.HEALTHY):
        await states.report(key, KeyStatus(state))
    assert (await states.load([key]))[key].state is KeyState.HEALTHY


async def test_reports_do_not_stay_for_ever(link: RedisLink) -> None:
    await RedisKeyStates(link).report(uuid4().hex, KeyStatus())
    assert 0 < await link.command("PTTL", KEY_STATES) <= 31 * 86_400_000
