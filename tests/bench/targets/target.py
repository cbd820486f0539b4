"""A proxy to measure, and how any of them is started, awaited and stopped."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.bench.machine import Cores
from tests.support.processes import wait_until

START_SECONDS = 120
# Whoever kills the run kills what it started.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")
# Of CPU in a quarter of a second: what is less is housekeeping.
_IDLE_SECONDS = 0.02
_SETTLE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Target:
    """*pids* are the roots of its process trees, its own first, then its Redis if it has one.

    *headers* are sent with every request. *millis* is about what a request costs it in milliseconds of CPU: many
    clients are let in no faster than that. *version* is for the report. *people* are more bearers, where a target has
    limits a user. *faults* is what its log held when it had stopped.
    """

    name: str
    port: int
    pids: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    millis: float = 0.5
    version: str = ""
    workers: tuple[int, ...] = ()
    people: tuple[str, ...] = ()
    faults: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Wait until it has nothing more to do from what was asked before, or for _SETTLE_SECONDS."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while self.pids and time.monotonic() < deadline:
            before = _cpu_seconds(self.pids[0])
            time.sleep(0.25)
            if _cpu_seconds(self.pids[0]) - before <= _IDLE_SECONDS:
                return

    def hold(self) -> None:
        """Stop it where it is, whatever it still does."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After ``hold``."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in _tree(self.pids[0]):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def answers(self) -> bool:
        """Whether a stream of two events comes through."""
        headers = {"Content-Type": "application/json", **dict(line.split(": ", 1) for line in self.headers)}
        body = {"model": "bench-n2", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            return b"[DONE]" in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _tree(pid: int) -> list[Any]:
    """The process and all below it; none where it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu_seconds(pid: int) -> float:
    try:
        return sum(sum(process.cpu_times()[:2]) for process in _tree(pid))
    except psutil.NoSuchProcess:
        return 0.0


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def process(
    command: Sequence[str | Path],
    *,
    folder: Path,
    cores: Cores,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program on the proxy's core; what it prints goes to output.log in *folder*. Its whole session ends with it."""
    folder.mkdir(exist_ok=True)
    with (folder / "output.log").open("wb") as log, cores.proxy():
        started = subprocess.Popen(
            [*DIES_WITH_PARENT, *command],
            cwd=cwd or folder,
            env={**os.environ, **(env or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        started.terminate()
        with suppress(subprocess.TimeoutExpired):
            started.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def await_answers(target: Target, started: subprocess.Popen[bytes], folder: Path) -> Target:
    """Return *target* once it relays a stream; RuntimeError with what it printed when it does not."""

    def ready() -> bool:
        if started.poll() is not None:
            raise RuntimeError(f"{target.name} ended by itself: {(folder / 'output.log').read_text()[-500:]}")
        return listens(target.port) and target.answers()

    try:
        wait_until(ready, f"{target.name} relays a stream", START_SECONDS)
    except TimeoutError as fault:
        raise RuntimeError(f"{fault}: {(folder / 'output.log').read_text()[-500:]}") from None
    return target
