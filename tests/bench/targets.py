"""What is measured, each with a mock upstream behind it: nginx as the limit of what C can do, and streamproxy.

streamproxy runs as it would for others: one worker, bearer verified, limits and session in a Redis of its own,
usage and history written to SQLite, one access line a request.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.e2e.server import Server
from tests.support.processes import find_program, free_port, stop, wait_until
from tests.support.redis_server import RedisServer

HERE = Path(__file__).parent
# The programs end by themselves, should the run be killed.
LONGEST_SECONDS = 300
SETTINGS = {
    "UPSTREAM__API_KEYS": "sk-bench-first,sk-bench-second",
    "UPSTREAM__MODELS": "*",
    # Checked for every request, reached by none.
    "LIMITS__REQUESTS": "10000000/min",
    "LIMITS__TOKENS": "1000000000/h",
    "LIMITS__CONCURRENT_STREAMS": "4000",
}
_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A proxy to measure: *pids* are the roots of its process trees, its own first, then its Redis if it has one."""

    name: str
    port: int
    bearer: str
    pids: tuple[int, ...]


class Cores:
    """The measured proxy has the last core for itself; mock, Redis and load generator share the first.

    With one core nothing is pinned; latencies then mean nothing.
    """

    def __init__(self) -> None:
        self.all = sorted(os.sched_getaffinity(0))

    @contextmanager
    def proxy(self) -> Iterator[None]:
        """What is started here runs on the proxy's core."""
        os.sched_setaffinity(0, self.all[-1:] if len(self.all) > 1 else self.all)
        try:
            yield
        finally:
            self.load()

    def load(self) -> None:
        """What is started from now on runs on the first core."""
        os.sched_setaffinity(0, self.all[:1])


def build(name: str, folder: Path) -> Path:
    """Compile *name*.c into *folder*; CalledProcessError when it cannot be."""
    compiler = find_program("gcc", "cc", package="gcc")
    subprocess.run([compiler, "-O2", "-Wall", "-o", folder / name, HERE / f"{name}.c"], check=True)
    return folder / name


@contextmanager
def mock_upstream(folder: Path) -> Iterator[int]:
    """The port of a running mock."""
    port = free_port()
    process = subprocess.Popen([build("mock", folder), str(port), str(LONGEST_SECONDS)])
    try:
        wait_until(lambda: _listens(port), "the mock listens")
        yield port
    finally:
        stop(process)


@contextmanager
def nginx(folder: Path, upstream: int, cores: Cores) -> Iterator[Target]:
    """nginx as it relays best: one worker, unbuffered, no log, connections to the upstream kept."""
    port = free_port()
    folder.mkdir()
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, upstream=upstream, port=port))
    program = find_program("nginx", package="nginx")
    with cores.proxy():
        process = subprocess.Popen([program, "-p", folder, "-c", configuration, "-e", folder / "error.log"])
    try:
        wait_until(lambda: _listens(port), "nginx listens")
        yield Target("nginx", port, "none", (process.pid,))
    finally:
        stop(process)


@contextmanager
def streamproxy(folder: Path, upstream: int, cores: Cores) -> Iterator[Target]:
    """``streamproxy serve`` with one worker; a fault in its log fails the run when it stops."""
    folder.mkdir()
    store = RedisServer(folder)
    server = Server(folder, upstream=f"http://127.0.0.1:{upstream}/v1", redis_server=store, settings=SETTINGS)
    try:
        store.start()
        with redis.Redis(unix_socket_path=str(store.socket_path)) as client:
            redis_pid = int(client.info()["process_id"])  # type: ignore[index]
        with cores.proxy():
            server.start()
        (person,) = asyncio.run(server.people(1))
        yield Target("streamproxy", server.port, person.bearer, (server.process.pid, redis_pid))
        server.stop()
    finally:
        if server.running:
            server.process.kill()
        store.stop()


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
