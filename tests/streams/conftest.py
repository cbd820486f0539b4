"""A proxy of two workers, each with a port of its own, so that a test chooses which of them it talks to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from tests.e2e.conftest import speak
from tests.support.http import Client
from tests.support.proxies import StartProxy
from tests.support.proxy import ProxyProcess

__all__ = ["speak"]


@pytest.fixture(scope="session")
def pair_proxy(start_proxy: StartProxy) -> ProxyProcess:
    return start_proxy(
        SERVER__WORKERS="2",
        SERVER__PORT_PER_WORKER="true",
        STREAMS__HEARTBEAT_SECONDS="0.2",
        STREAMS__OPEN_AFTER_SECONDS="0.2",
    )


@pytest.fixture
def here(io_loop: IOLoop, pair_proxy: ProxyProcess) -> Iterator[Client]:
    """A client of the first worker."""
    client = Client(pair_proxy.port, pair_proxy.bearer("tester"))
    yield client
    client.close()
    pair_proxy.check_log()


@pytest.fixture
def elsewhere(io_loop: IOLoop, pair_proxy: ProxyProcess) -> Iterator[Client]:
    """The same caller at the second worker."""
    client = Client(pair_proxy.port + 1, pair_proxy.bearer("tester"))
    yield client
    client.close()


@pytest.fixture
def stranger(io_loop: IOLoop, pair_proxy: ProxyProcess) -> Iterator[Client]:
    """Somebody else, at the first worker."""
    client = Client(pair_proxy.port, pair_proxy.bearer("stranger"))
    yield client
    client.close()
