"""Two workers, the inner nginx before them, the outer one before that: all real, and as the project ships them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from tests.nginx.tls import TlsClient
from tests.support.nginx import Nginx, edge, inner
from tests.support.proxies import StartProxy
from tests.support.proxy import ProxyProcess


@dataclass(frozen=True, slots=True)
class Hops:
    """The way from the world to the workers."""

    proxy: ProxyProcess
    inner: Nginx
    edge: Nginx
    certificate: Path

    def client(self, name: str | None = "tester") -> TlsClient:
        """Somebody out there; without a *name* a stranger."""
        return TlsClient(self.edge.port, self.proxy.bearer(name) if name else None, self.certificate)


@pytest.fixture(scope="module")
def hops(start_proxy: StartProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hops]:
    """Both hops before a proxy of two workers, each with a port of its own."""
    proxy = start_proxy(SERVER__WORKERS="2", SERVER__PORT_PER_WORKER="true")
    near = inner(tmp_path_factory.mktemp("inner"), (proxy.port, proxy.port + 1))
    far, certificate = edge(tmp_path_factory.mktemp("edge"), (near.port,))
    for nginx in (near, far):
        nginx.start()
    yield Hops(proxy, near, far, certificate)
    for nginx in (far, near):
        nginx.stop()


@pytest.fixture
def outside(io_loop: IOLoop, hops: Hops) -> Iterator[TlsClient]:
    """A client before both hops."""
    client = hops.client()
    yield client
    client.close()
    hops.proxy.check_log()
