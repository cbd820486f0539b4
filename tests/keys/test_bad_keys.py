"""Keys that are dead or out of quota cost one request each; the good one answers everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.e2e.facts import until
from tests.keys.conftest import (
    BROKE,
    DEAD,
    GOOD,
    GOOD_ANSWER,
    OUT_OF_QUOTA,
    REFUSED,
    NewProxy,
    command,
    error_code,
    metric,
    rows,
    said,
    used,
)
from tests.support.http import Client
from tests.support.proxy import ProxyProcess
from tests.support.steps import by_key
from tests.support.upstream import ScriptedUpstream, catalogue

MANY = 200
# Workers look once a second at what the others know.
NOTICED_SECONDS = 15
Caller = Callable[[ProxyProcess], Client]
# Each command is a Python of its own that starts.
patiently = pytest.mark.gen_test(timeout=170)


@patiently
@pytest.mark.parametrize("workers", [1, 4])
async def test_two_bad_keys_and_a_good_one_answer_two_hundred_at_once(
    new_proxy: NewProxy, caller: Caller, upstream: ScriptedUpstream, workers: int
) -> None:
    """No request fails, none is answered twice, the bad keys are out after one request each a worker at most."""
    upstream.script(by_key(dead=[REFUSED], brok=[OUT_OF_QUOTA], good=GOOD_ANSWER))
    proxy = new_proxy(DEAD, BROKE, GOOD, SERVER__WORKERS=str(workers))
    client = caller(proxy)
    answers = await asyncio.gather(*(client.chat(f"number-{n}", stream=n % 4 > 0) for n in range(MANY)))
    assert [answer for answer in answers if answer.status != 200] == []
    assert [said(answer) for answer in answers] == [f"number-{n}" for n in range(MANY)]
    assert {answer.head.get("X-Streamproxy-Attempts") for answer in answers} <= {"1", "2", "3"}
    assert used(upstream)["good"] == MANY
    assert 1 <= used(upstream)["dead"] <= workers
    assert 1 <= used(upstream)["brok"] <= workers

    async def counted() -> bool:
        calls = {key: await metric(client, "streamproxy_key_calls_total", key=key) for key in ("dead", "brok", "good")}
        return calls == used(upstream)

    # Each worker passes its counts on twice a second.
    await until(counted, "all counts are passed on", NOTICED_SECONDS)
    listed = await rows(proxy)
    assert (listed["dead"].state, listed["brok"].state, listed["good"].state) == ("disabled", "parked", "healthy")
    assert listed["dead"].why == "invalid_api_key: Incorrect API key provided: ***."
    assert (listed["good"].errors, listed["good"].until, listed["brok"].until > "2") == ("0", "-", True)
    await _all_out_and_back(proxy, client, upstream, workers)


async def _all_out_and_back(proxy: ProxyProcess, client: Client, upstream: ScriptedUpstream, workers: int) -> None:
    """The last one dies: an honest 503 from all workers; a probe brings it back without a restart."""
    upstream.script(REFUSED)
    answers = await asyncio.gather(*(client.chat() for _ in range(20)))
    assert {(answer.status, error_code(answer)) for answer in answers} == {(503, "no_key_available")}
    assert all(int(answer.head.get("Retry-After") or 0) > 0 for answer in answers)
    # It had proved itself, so whoever was on the way at that moment met the refusal too; nobody after that.
    assert {*used(upstream)} == {"dead", "brok", "good"}
    asked = len(upstream.requests)

    async def nobody_asks() -> bool:
        before = len(upstream.requests)
        assert {error_code(await client.chat()) for _ in range(12)} == {"no_key_available"}
        return len(upstream.requests) == before

    await until(nobody_asks, "no worker asks with a dead key", NOTICED_SECONDS)
    # A worker that had none of the twenty, and did not look yet at what the others know, found out by itself.
    assert len(upstream.requests) - asked < workers
    upstream.script(*GOOD_ANSWER)
    assert "it works" in await command(proxy, "key", "probe", "good")

    async def good_everywhere() -> bool:
        return {answer.status for answer in [await client.chat() for _ in range(12)]} == {200}

    await until(good_everywhere, "all workers use the key", NOTICED_SECONDS)


@patiently
async def test_a_parked_and_a_disabled_key_come_back_by_themselves(
    new_proxy: NewProxy, caller: Caller, upstream: ScriptedUpstream
) -> None:
    """The automatic probe: one worker asks, all use the key again."""
    proxy = new_proxy(DEAD, SERVER__WORKERS="2", UPSTREAM__PROBE_SECONDS="1")
    client = caller(proxy)
    upstream.script(REFUSED)
    upstream.listing = REFUSED
    assert (await client.chat()).status == 503
    await until(lambda: len(upstream.listed) >= 2, "the key is probed", NOTICED_SECONDS)
    assert (await client.chat()).status == 503
    upstream.script(*GOOD_ANSWER)
    upstream.listing = catalogue

    async def answers() -> bool:
        return (await client.chat()).status == 200

    await until(answers, "the key is used", NOTICED_SECONDS)


@patiently
async def test_a_key_disabled_by_hand_stays_out_until_it_is_enabled(
    new_proxy: NewProxy, caller: Caller, upstream: ScriptedUpstream
) -> None:
    """With the embedded Redis, which commands find, and across a restart, which that Redis does not survive."""
    proxy = new_proxy(GOOD, REDIS__URL="", UPSTREAM__PROBE_SECONDS="1")
    client = caller(proxy)
    assert (await client.chat()).status == 200
    await command(proxy, "key", "disable", "good")

    async def refused() -> bool:
        return (await client.chat()).status == 503

    await until(refused, "no key is used", NOTICED_SECONDS)
    proxy.stop()
    proxy.start()
    assert error_code(await client.chat()) == "no_key_available"
    assert (await rows(proxy))["good"].state == "disabled"
    # A probe shows that it works, and changes nothing: a person's word stands.
    assert "it works" in await command(proxy, "key", "probe", "good")
    assert (await client.chat()).status == 503
    await command(proxy, "key", "enable", "good")

    async def answers() -> bool:
        return (await client.chat()).status == 200

    await until(answers, "the key is used", NOTICED_SECONDS)


@patiently
async def test_a_key_that_is_added_is_used_without_a_restart(
    new_proxy: NewProxy, caller: Caller, upstream: ScriptedUpstream
) -> None:
    upstream.script(by_key(dead=[REFUSED], good=GOOD_ANSWER))
    proxy = new_proxy(DEAD, REDIS__URL="")
    client = caller(proxy)
    assert (await client.chat()).status == 503
    assert "…good" in await command(proxy, "key", "add", "default", "--stdin", stdin=f"{GOOD}\n")

    async def answers() -> bool:
        return (await client.chat()).status == 200

    await until(answers, "the key is used", NOTICED_SECONDS)
    added = (await rows(proxy))["good"]
    assert (added.upstream, added.origin, added.state) == ("default", "key add", "healthy")
    await command(proxy, "key", "remove", "good")

    async def refused() -> bool:
        return (await client.chat()).status == 503

    await until(refused, "no key is used", NOTICED_SECONDS)
