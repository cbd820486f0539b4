"""The machine that measures: its cores, its compiler, and what is to be told about it."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import find_program

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"


class Cores:
    """The measured proxy has the last core for itself; mock, Redis and load generator share the first.

    With one core nothing is pinned; latencies then mean nothing.
    """

    def __init__(self) -> None:
        self.all = sorted(os.sched_getaffinity(0))

    @contextmanager
    def proxy(self, *, every: bool = False) -> Iterator[None]:
        """What is started here runs on the proxy's core, or on *every* core."""
        os.sched_setaffinity(0, self.all if every or len(self.all) == 1 else self.all[-1:])
        try:
            yield
        finally:
            self.load()

    def load(self) -> None:
        """What is started from now on runs on the first core."""
        os.sched_setaffinity(0, self.all[:1])

    def release(self) -> None:
        """This process runs where it did before."""
        os.sched_setaffinity(0, self.all)


def allow_many_files() -> None:
    """Thousands of streams are thousands of sockets: what is started here may have as many as the system lets it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def build(name: str, folder: Path) -> Path:
    """Compile programs/*name*.c into *folder*; CalledProcessError when it cannot be."""
    compiler = find_program("gcc", "cc", package="gcc")
    subprocess.run([compiler, "-O2", "-Wall", "-o", folder / name, PROGRAMS / f"{name}.c"], check=True)
    return folder / name


def output(*command: str | Path) -> str:
    """What a command prints, on whichever stream, without the line's end."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.strip()


def circumstances(command: str) -> dict[str, str]:
    """Machine, versions, commit and the *command* that measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())
    changed = output("git", "status", "--porcelain", "--", "streamproxy")
    redis = output(find_program("redis-server", "valkey-server", package="redis-server"), "--version").split()
    return {
        "machine": f"{cpu}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}",
        "commit": output("git", "rev-parse", "--short", "HEAD") + (" and changes not yet committed" if changed else ""),
        "command": command,
        "Python": platform.python_version(),
        "Redis": next((word.removeprefix("v=") for word in redis if word.startswith("v=")), "unknown"),
        "load average before": f"{os.getloadavg()[0]:.1f}",
    }
