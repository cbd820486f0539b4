"""Starts servers for a module: ``serve`` as its command, with a Redis of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import pytest

from tests.e2e.server import Server
from tests.support.proxy import PATIENCE
from tests.support.redis_server import RedisServer

Launch: TypeAlias = Callable[..., Server]


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory, upstream_socket: socket.socket) -> Iterator[Launch]:
    """Starts a server with a Redis of its own (with *embedded*, the one it starts itself). All stop with the module."""
    servers: list[Server] = []

    def start(*, workers: int = 1, port_per_worker: bool = False, embedded: bool = False, **settings: str) -> Server:
        folder = tmp_path_factory.mktemp("server")
        redis_server = None if embedded else RedisServer(folder)
        if redis_server is not None:
            redis_server.start()
        server = Server(
            folder,
            upstream=f"http://127.0.0.1:{upstream_socket.getsockname()[1]}/v1",
            redis_server=redis_server,
            workers=workers,
            port_per_worker=port_per_worker,
            settings=PATIENCE | settings,
        )
        servers.append(server)
        server.start()
        return server

    yield start
    # All at once: each takes more than a second to stop.
    with ThreadPoolExecutor(max_workers=8) as pool:
        faults = [fault for fault in pool.map(_put_away, servers) if fault is not None]
    if faults:
        raise faults[0]


def _put_away(server: Server) -> BaseException | None:
    try:
        server.put_away()
    except BaseException as exc:  # noqa: BLE001 - raised again when all are stopped
        return exc
    finally:
        if server.redis_server is not None:
            server.redis_server.stop()
    return None
