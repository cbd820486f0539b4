"""streamproxy as it would run for others, with everything on.

Bearer verified, windows of requests and tokens, places for running streams and the session in a Redis of its own,
usage and history written to SQLite, one access line a request, metrics recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from streamproxy import __version__
from tests.bench.machine import Cores
from tests.bench.targets.target import DIES_WITH_PARENT, Target
from tests.e2e.server import Server
from tests.support.redis_server import RedisServer

SETTINGS = {
    "UPSTREAM__API_KEYS": "sk-bench-first,sk-bench-second",
    "UPSTREAM__MODELS": "*",
    # Checked for every request, reached by none.
    "LIMITS__REQUESTS": "10000000/min",
    "LIMITS__TOKENS": "1000000000/h",
    "LIMITS__CONCURRENT_STREAMS": "20000",
}


# Resuming has a limit a user.
_PEOPLE = 4
_FAULT_CHARACTERS = 3000


class _MeasuredServer(Server):
    """With *env* besides the settings, for what a run wants to see from inside."""

    def __init__(self, folder: Path, *, env: Mapping[str, str], **options: Any) -> None:
        super().__init__(folder, **options)
        self._environment.update(env)

    @property
    def _command(self) -> list[str]:
        return [*DIES_WITH_PARENT, *super()._command]


@contextmanager
def streamproxy(
    folder: Path,
    upstream: int,
    cores: Cores,
    *,
    workers: int = 1,
    pinned: bool = False,
    env: Mapping[str, str] | None = None,
) -> Iterator[Target]:
    """``streamproxy serve``; a fault in its log is in the target's ``faults`` when it has stopped.

    Two *workers* may use every core, each its own when they are *pinned*; *env* is added to their environment.
    """
    settings = {**SETTINGS, "SERVER__PIN_WORKERS": str(pinned).lower()}
    with _serving(
        folder, upstream, cores, workers=workers, port_per_worker=False, settings=settings, env=env or {}
    ) as (target,):
        yield target


@contextmanager
def streamproxy_ports(folder: Path, upstream: int, cores: Cores) -> Iterator[list[Target]]:
    """Two workers, each at a port of its own: a target each."""
    with _serving(folder, upstream, cores, workers=2, port_per_worker=True, settings=SETTINGS, env={}) as targets:
        yield targets


@contextmanager
def _serving(
    folder: Path,
    upstream: int,
    cores: Cores,
    *,
    workers: int,
    port_per_worker: bool,
    settings: Mapping[str, str],
    env: Mapping[str, str],
) -> Iterator[list[Target]]:
    folder.mkdir()
    store = RedisServer(folder)
    server = _MeasuredServer(
        folder,
        upstream=f"http://127.0.0.1:{upstream}/v1",
        redis_server=store,
        workers=workers,
        port_per_worker=port_per_worker,
        settings=settings,
        env=env,
    )
    try:
        store.start()
        with redis.Redis(unix_socket_path=str(store.socket_path)) as client:
            redis_pid = int(client.info()["process_id"])  # type: ignore[index]
        with cores.proxy(every=workers > 1):
            server.start()
        people = [f"Authorization: Bearer {person.bearer}" for person in asyncio.run(server.people(_PEOPLE))]
        first = Target(
            "streamproxy" if workers == 1 else f"streamproxy, {workers} workers",
            server.port,
            (server.process.pid, redis_pid),
            (people[0],),
            version=__version__,
            workers=tuple(server.worker_pids()),
            people=tuple(people),
        )
        yield [replace(first, port=port) for port in server.ports]
        try:
            server.stop()
        except AssertionError as fault:  # what was measured is still to be told
            first.faults.append(str(fault)[:_FAULT_CHARACTERS])
    finally:
        if server.running:
            server.process.kill()
            server.process.wait()
        store.stop()
