"""Starting real servers for the tests, and the honest failure when one is not installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


class MissingServerError(RuntimeError):
    """A server that the tests need is not installed."""


def find_program(*names: str, package: str) -> str:
    """Path of the first of *names* on PATH or where Debian puts servers.

    A missing server fails the run with the remedy; a skip would hide an untested promise.
    """
    places = ["/usr/sbin", "/usr/local/bin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
    for name in names:
        found = shutil.which(name) or next((f"{p}/{name}" for p in places if Path(f"{p}/{name}").exists()), None)
        if found:
            return found
    raise MissingServerError(f"the tests need {names[0]}: run `make setup` or `apt-get install {package}`")


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Poll a start-up condition of another process, which offers no event to await."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} within {seconds:g} s")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def stop(process: subprocess.Popen[bytes], seconds: float = 10) -> None:
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
