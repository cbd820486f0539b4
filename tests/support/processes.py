"""Starting real servers for the tests, and the honest failure when one is not installed."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Below the ports that the kernel gives to outgoing connections by itself (32768 and above): one of those may take a
# port between its choice and the server's bind.
FIRST_PORT, LAST_PORT = 18_000, 32_000
_claims: list[socket.socket] = []


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


def readiness(port: int) -> tuple[int, dict[str, Any]]:
    """Status and body of GET /readyz; status 0 when nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except OSError:
        return 0, {}
    finally:
        connection.close()


def free_port() -> int:
    """A loopback port for a server that is started soon; see ``free_ports``."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of *count* loopback ports in a row that are free, and that no other process of any test run is given.

    A port that is only found free is soon found free by somebody else too. So it is claimed, under a name that the
    kernel forgets together with this process: an abstract unix socket.
    """
    start = random.randrange(FIRST_PORT, LAST_PORT)  # spreads the runs, hides nothing
    for first in itertools.chain(range(start, LAST_PORT - count), range(FIRST_PORT, start)):
        claims: list[socket.socket] = []
        if all(_claim(port, claims) for port in range(first, first + count)):
            _claims.extend(claims)
            return first
        for claim in claims:
            claim.close()
    raise RuntimeError(f"no {count} free ports in a row")


def _claim(port: int, claims: list[socket.socket]) -> bool:
    claim = socket.socket(socket.AF_UNIX)
    claims.append(claim)
    try:
        claim.bind(f"\0streamproxy-tests-port-{port}")
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def stop(process: subprocess.Popen[bytes], seconds: float = 10) -> None:
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
