"""A folder as a newcomer has it, with a server in it that was started without any settings."""

from __future__ import annotations

import http.client
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.documents import environment, furnish
from tests.sdk.drivers import NODE_FOLDER
from tests.support.npm import installed
from tests.support.processes import free_port, stop, wait_until


@dataclass(frozen=True, slots=True)
class Clone:
    """A newcomer's folder, and the port its server listens on."""

    folder: Path
    port: int


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    """What ``make run`` leads to: ``serve`` with embedded Redis, SQLite in ./data and the demo model."""
    with installed(NODE_FOLDER) as modules:
        furnish(tmp_path, modules)
    made = Clone(tmp_path, free_port())
    with (tmp_path / "server.log").open("wb") as log:
        command = [str(tmp_path / ".venv/bin/streamproxy"), "serve", "--port", str(made.port)]
        server = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_ready(server, made), "the server is ready", 40)
        yield made
    finally:
        stop(server, 20)


def _is_ready(server: subprocess.Popen[bytes], clone: Clone) -> bool:
    assert server.poll() is None, (clone.folder / "server.log").read_text()
    connection = http.client.HTTPConnection("127.0.0.1", clone.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
