"""Redis Cluster and Sentinel: the same stores on the servers that reach beyond one machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.keypool import KeyState, KeyStatus
from streamproxy.domain.limits import Ask, DayQuota, LimitPolicy, Window
from streamproxy.domain.sessions import SessionRef, Turn
from streamproxy.errors import SessionBusyError, StoreUnavailableError
from streamproxy.stores.redis.connect import RedisLink, open_redis
from streamproxy.stores.redis.keystates import RedisKeyStates
from streamproxy.stores.redis.limits import RedisLimits
from streamproxy.stores.redis.sessions import RedisSessions
from streamproxy.stores.redis.turnstile import RedisTurnstile
from tests.support.processes import free_port
from tests.support.redis_machines import Cluster, Machines, Watched

POLICY = LimitPolicy(requests=(Window(2, 60), DayQuota(10)), tokens=(Window(100, 60), DayQuota(1000)), streams=5)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    machines = Machines(tmp_path)
    yield machines
    machines.stop()


@pytest.fixture
def cluster_url(machines: Machines) -> str:
    """A cluster of three nodes: a script whose keys lie in two slots would be refused."""
    return Cluster(machines).url


@pytest.fixture
def sentinel_url(machines: Machines) -> str:
    """A master with a password, and a sentinel that names it; a second sentinel is away."""
    watched = Watched(machines, replicas=0, sentinels=1, password="p%w@rd")
    return watched.url([free_port(), watched.sentinels[0].port], account=":p%25w%40rd@")


@pytest.fixture(params=["cluster_url", "sentinel_url"])
def link(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[RedisLink]:
    url: str = request.getfixturevalue(request.param)
    opened = io_loop.run_sync(lambda: open_redis(url, timeout_seconds=10))
    yield opened
    io_loop.run_sync(opened.close)


async def test_all_stores_keep_their_promises(link: RedisLink) -> None:
    """Limits, sessions and key states for ten principals, who lie on different nodes of a cluster."""
    limits = RedisLimits(link, zone=ZoneInfo("UTC"))
    sessions = RedisSessions(link, ttl_seconds=60, max_tokens=100)
    turnstile = RedisTurnstile(link, limits, sessions)
    principals = [uuid4().hex for _ in range(10)]
    held = []
    for principal in principals:
        asks = [Ask(principal, uuid4().hex, POLICY, 10) for _ in range(3)]
        first, second, third = [(await limits.reserve(ask)).reservation for ask in asks]
        assert first is not None
        assert second is not None
        assert third is None
        longer = await limits.extend(first, 10)
        assert longer is not None
        await limits.refund(longer)
        await limits.settle(second, 5)
        fourth = (await limits.reserve(Ask(principal, uuid4().hex, POLICY, 10))).reservation
        assert fourth is not None
        held.append(fourth)
        ref = SessionRef(principal, "s")
        await sessions.enter(ref, "t1", 0)
        with pytest.raises(SessionBusyError):
            await sessions.enter(ref, "t2", 0)
        for scope in (uuid4().hex, f"{principal}:endpoint"):
            other = SessionRef(scope.partition(":")[0], "other")
            decision, _ = await turnstile.enter(Ask(scope, uuid4().hex, POLICY, 10), other, "t1")
            assert decision.reservation is not None
            await turnstile.leave(
                decision.reservation, 5, other, Turn("t1", ({"role": "user", "content": "你"},), 3), None
            )
            assert len((await sessions.enter(other, "t2", 0)).turns) == 1
    await limits.renew(held)
    await sessions.renew([(SessionRef(principal, "s"), "t1") for principal in principals])
    for principal in principals:
        await sessions.append(SessionRef(principal, "s"), Turn("t1", ({"role": "user"},), 1), None)
        assert await sessions.read(SessionRef(principal, "s")) is not None
        assert await sessions.forget(SessionRef(principal, "s")) is True
    states = RedisKeyStates(link)
    await states.change("k", lambda _: KeyStatus(KeyState.PARKED))
    assert set(await states.load(["k", "l"])) == {"k"}


async def test_when_all_machines_are_away_the_store_is(machines: Machines, link: RedisLink) -> None:
    """Every failure is our error, whatever redis-py calls it."""
    await link.ping()
    machines.kill_all()
    for _ in range(4):
        with pytest.raises(StoreUnavailableError):
            await link.command("SET", "k", "v")
    assert not link.available
