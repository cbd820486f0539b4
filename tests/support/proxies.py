"""The proxies that black-box tests share: one for each set of settings, started when first needed.

A start takes more than a second, so they live as long as the run; what a test needs for itself is
its own user, its own connections and its own scripted upstream, which they all call.

- ``patient``: default timings. Whatever concerns bytes, headers, statuses and errors.
- ``brisk``: opens a stream after 0.2 s and beats every 0.2 s, so that silence is quickly driven.
- ``hasty``: gives up on a silent upstream after 0.5 s, on any after 3 s.
- ``strict``: two requests in any minute, one running stream.
- ``brief``: one request in any 3 s.
- ``lone``: a single provider key, which tests may lose.
- ``stranded``: its upstream refuses every connection.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
import redis
from tornado.ioloop import IOLoop

from tests.support.http import Client
from tests.support.listener import listen
from tests.support.proxy import PATIENCE, ProxyProcess
from tests.support.redis_server import RedisServer
from tests.support.upstream import ScriptedUpstream

StartProxy: TypeAlias = Callable[..., ProxyProcess]
# A redis-server has databases 0 to 15; 0 is left to the store tests.
REDIS_DATABASES = 15


@pytest.fixture(scope="session")
def upstream_socket() -> Iterator[socket.socket]:
    with listen() as sock:
        yield sock


@pytest.fixture
def upstream(io_loop: IOLoop, upstream_socket: socket.socket) -> Iterator[ScriptedUpstream]:
    """The upstream of every proxy but ``stranded``, serving in this test's loop."""
    scripted = ScriptedUpstream(upstream_socket)
    io_loop.run_sync(scripted.start)
    yield scripted
    io_loop.run_sync(scripted.stop)


@pytest.fixture(scope="session")
def start_proxy(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, upstream_socket: socket.socket
) -> Iterator[StartProxy]:
    """Starts a proxy with its own Redis database and folder; all are stopped at the end of the run."""
    started: list[ProxyProcess] = []

    def start(upstream: socket.socket = upstream_socket, **settings: str) -> ProxyProcess:
        number = len(started) % REDIS_DATABASES + 1
        with redis.Redis(unix_socket_path=str(redis_server.socket_path), db=number) as client:
            client.flushdb()
        proxy = ProxyProcess(
            tmp_path_factory.mktemp("proxy"),
            upstream=f"http://127.0.0.1:{upstream.getsockname()[1]}/v1",
            redis_url=f"{redis_server.url}?db={number}",
            settings=PATIENCE | settings,
        )
        proxy.start()
        started.append(proxy)
        return proxy

    yield start
    # ExitStack-like: each is stopped even when another one stops badly; the first fault is shown.
    faults = [fault for proxy in started if (fault := _stop(proxy)) is not None]
    if faults:
        raise faults[0]


def _stop(proxy: ProxyProcess) -> BaseException | None:
    try:
        proxy.put_away()
    except BaseException as exc:  # noqa: BLE001 - raised again when all are stopped
        return exc
    return None


@pytest.fixture(scope="session")
def patient_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy()


@pytest.fixture(scope="session")
def brisk_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(STREAMS__HEARTBEAT_SECONDS="0.2", STREAMS__OPEN_AFTER_SECONDS="0.2")


@pytest.fixture(scope="session")
def hasty_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(UPSTREAM__FIRST_EVENT_TIMEOUT="0.5", UPSTREAM__IDLE_TIMEOUT="0.5", UPSTREAM__TOTAL_TIMEOUT="3")


@pytest.fixture(scope="session")
def strict_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(LIMITS__REQUESTS="2/min", LIMITS__CONCURRENT_STREAMS="1")


@pytest.fixture(scope="session")
def brief_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(LIMITS__REQUESTS="1/3s")


@pytest.fixture(scope="session")
def lone_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(UPSTREAM__API_KEYS="sk-planted-lone-1f2e3d4c5b6a7988")


@pytest.fixture(scope="session")
def stranded_proxy(start_proxy: StartProxy) -> Iterator[ProxyProcess]:
    with socket.socket() as bound:  # bound and never listening: every connect is refused
        bound.bind(("127.0.0.1", 0))
        yield start_proxy(bound)


# Limits are per principal: a test on ``strict`` or ``brief`` must not find its places taken by the one before.
_numbers = itertools.count(1)


def _caller(proxy: ProxyProcess, name: str = "tester") -> Iterator[Client]:
    client = Client(proxy.port, proxy.bearer(name))
    yield client
    client.close()
    proxy.check_log()


@pytest.fixture
def patient(io_loop: IOLoop, patient_proxy: ProxyProcess) -> Iterator[Client]:
    yield from _caller(patient_proxy)


@pytest.fixture
def brisk(io_loop: IOLoop, brisk_proxy: ProxyProcess) -> Iterator[Client]:
    yield from _caller(brisk_proxy)


@pytest.fixture
def hasty(io_loop: IOLoop, hasty_proxy: ProxyProcess) -> Iterator[Client]:
    yield from _caller(hasty_proxy)


@pytest.fixture
def strict(io_loop: IOLoop, strict_proxy: ProxyProcess) -> Iterator[Client]:
    yield from _caller(strict_proxy, f"user-{next(_numbers)}")


@pytest.fixture
def brief(io_loop: IOLoop, brief_proxy: ProxyProcess) -> Iterator[Client]:
    yield from _caller(brief_proxy, f"user-{next(_numbers)}")


@pytest.fixture
def lone(io_loop: IOLoop, lone_proxy: ProxyProcess) -> Iterator[Client]:
    yield from _caller(lone_proxy)


@pytest.fixture
def stranded(io_loop: IOLoop, stranded_proxy: ProxyProcess) -> Iterator[Client]:
    yield from _caller(stranded_proxy)
