"""Redis Cluster and Sentinel: the same stores on the servers that reach beyond one machine."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import redis
from tornado.ioloop import IOLoop

from streamproxy.domain.keypool import KeyState, KeyStatus
from streamproxy.domain.limits import Ask, DayQuota, LimitPolicy, Window
from streamproxy.domain.sessions import SessionRef, Turn
from streamproxy.errors import SessionBusyError
from streamproxy.stores.redis.connect import RedisLink, open_redis
from streamproxy.stores.redis.keystates import RedisKeyStates
from streamproxy.stores.redis.limits import RedisLimits
from streamproxy.stores.redis.sessions import RedisSessions
from tests.support.processes import find_program, free_port, stop, wait_until

POLICY = LimitPolicy(requests=(Window(2, 60), DayQuota(10)), tokens=(Window(100, 60), DayQuota(1000)), streams=5)


class TcpServer:
    """A redis-server on a loopback port with a folder of its own."""

    def __init__(self, folder: Path, *options: str, config: str = "") -> None:
        self.port = free_port()
        folder.mkdir()
        (folder / "server.conf").write_text(config)
        program = find_program("redis-server", "valkey-server", package="redis-server")
        command = [program, str(folder / "server.conf"), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(folder), "--save", "", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.client: Any = redis.Redis(port=self.port)

    def ready(self) -> None:
        wait_until(self._answers, "redis-server answers")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def stop(self) -> None:
        self.client.close()
        stop(self.process)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[..., TcpServer]]:
    """Starts servers, and stops them whatever happens."""
    with ExitStack() as stack:

        def start(*options: str, config: str = "") -> TcpServer:
            server = TcpServer(tmp_path / uuid4().hex, *options, config=config)
            stack.callback(server.stop)
            server.ready()
            return server

        yield start


@pytest.fixture
def cluster_url(servers: Callable[..., TcpServer]) -> str:
    """A cluster of three nodes: a script whose keys lie in two slots would be refused."""
    buses = [free_port() for _ in range(3)]
    nodes = [servers("--cluster-enabled", "yes", "--cluster-port", str(bus)) for bus in buses]
    for number, node in enumerate(nodes):
        first, last = 16384 * number // 3, 16384 * (number + 1) // 3 - 1
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        if number:
            node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, buses[0])
    wait_until(lambda: all(whole(node) for node in nodes), "the cluster is whole", 60)
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


def whole(node: TcpServer) -> bool:
    """Redis 7.0 calls a cluster ok before every node knows every slot."""
    state = b"cluster_state:ok" in node.client.execute_command("CLUSTER", "INFO")
    return state and len(node.client.execute_command("CLUSTER", "SLOTS")) == 3


@pytest.fixture
def sentinel_url(servers: Callable[..., TcpServer]) -> str:
    """A master with a password, and a sentinel that names it; a second sentinel is away."""
    master = servers()
    master.client.config_set("requirepass", "p%w@rd")
    watch = f"sentinel monitor main 127.0.0.1 {master.port} 1\nsentinel auth-pass main p%w@rd\n"
    sentinel = servers("--sentinel", config=watch)
    return f"redis+sentinel://:p%25w%40rd@127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/main/0"


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
    await limits.renew(held)
    await sessions.renew([(SessionRef(principal, "s"), "t1") for principal in principals])
    for principal in principals:
        await sessions.append(SessionRef(principal, "s"), Turn("t1", ({"role": "user"},), 1), None)
        assert await sessions.read(SessionRef(principal, "s")) is not None
        assert await sessions.forget(SessionRef(principal, "s")) is True
    states = RedisKeyStates(link)
    await states.change("k", lambda _: KeyStatus(KeyState.PARKED))
    assert set(await states.load(["k", "l"])) == {"k"}
