"""The mock upstream, which is also a target: asked directly, it tells what the two programs cost without a proxy."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.machine import build
from tests.bench.targets.target import Target, listens
from tests.support.processes import free_port, stop, wait_until

# It ends by itself, should the run be killed.
LONGEST_SECONDS = 7200


@dataclass(frozen=True, slots=True)
class Mock:
    """A running mock.c."""

    port: int
    pid: int

    @property
    def direct(self) -> Target:
        """The mock without a proxy before it."""
        return Target("direct", self.port, (self.pid,))

    def left(self) -> dict[int, int]:
        """By number of the stream: when (CLOCK_MONOTONIC, ns) the mock saw that its reader had left."""
        return dict(self._get("/left"))

    def running(self) -> int:
        """How many streams run."""
        return int(self._get("/running"))

    def _get(self, path: str):  # type: ignore[no-untyped-def]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@contextmanager
def mock_upstream(folder: Path) -> Iterator[Mock]:
    """A mock on the core of the load generator."""
    port = free_port()
    process = subprocess.Popen([build("mock", folder), str(port), str(LONGEST_SECONDS)])
    try:
        wait_until(lambda: listens(port), "the mock listens")
        yield Mock(port, process.pid)
    finally:
        stop(process)
