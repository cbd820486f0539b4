"""Fixtures for all tests: pytest-tornado set up for today's versions, real servers once a run."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from tornado.ioloop import IOLoop

from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

# Shared proxies and the scripted upstream of the black-box tests, servers of a module's own, and the browser.
pytest_plugins = ("tests.support.proxies", "tests.e2e.launching", "tests.browser.fixtures")

# How long an example takes on a busy machine says nothing about the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are cores: these tests wait for servers more than they compute."""
    return (os.cpu_count() or 1) * 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every coroutine test runs on its own Tornado loop (pytest-tornado's gen_test)."""
    for item in items:
        marked = item.get_closest_marker("gen_test") is not None
        if inspect.iscoroutinefunction(getattr(item, "function", None)) and not marked:
            item.add_marker(pytest.mark.gen_test)


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """A fresh asyncio loop a test. pytest-tornado's own calls make_current, which Tornado 6.6 dropped."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    tornado_loop = IOLoop(asyncio_loop=loop, make_current=False)
    yield tornado_loop
    # Connections that the test closed last are gone after one more turn.
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    tornado_loop.close(all_fds=False)
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real Redis for the whole run. Tests that pause or kill a server start their own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/streamproxy.db"
