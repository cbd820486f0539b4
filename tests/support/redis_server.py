"""A real Redis for the tests, on a unix socket in a temporary folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

from streamproxy.stores.redis import limit_ending
from tests.support.processes import find_program, stop, wait_until


class RedisServer:
    """Start, stop, pause and kill one redis-server without persistence."""

    def __init__(self, folder: Path) -> None:
        self.socket_path = folder / "redis.sock"
        self.url = f"unix://{self.socket_path}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = find_program("redis-server", "valkey-server", package="redis-server")
        options = ["--port", "0", "--unixsocket", str(self.socket_path), "--save", "", "--appendonly", "no"]
        options += ["--enable-debug-command", "local", "--maxmemory-policy", "noeviction"]
        self._process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        wait_until(self._answers, "redis-server answers")

    def _answers(self) -> bool:
        import redis

        try:
            with redis.Redis(unix_socket_path=str(self.socket_path)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def send_signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a crash would end it: no goodbye, nothing saved."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)


def limit_key(scope: str, kind: str, place: str) -> str:
    """Where the count of one limit stands."""
    return f"sp:{{{scope}}}{limit_ending(kind, place)}"
