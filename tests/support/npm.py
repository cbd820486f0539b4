"""What tests use of npm: installed as the lock file of a folder says, and again only when it says something else."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import find_program


@contextmanager
def installed(folder: Path) -> Iterator[Path]:
    """``npm ci`` in *folder*; its node_modules. Inside no other process works in the folder.

    AssertionError with what npm printed when it fails.
    """
    with _one_at_a_time(folder):
        modules, wanted = folder / "node_modules", fingerprint([folder / "package-lock.json"])
        if stamp(modules) != wanted:
            npm(folder, "ci", "--no-audit", "--no-fund", "--loglevel=error")
            (modules / "stamp").write_text(wanted)
        yield modules


def npm(folder: Path, *arguments: str) -> None:
    """Run npm in *folder*; AssertionError with what it printed when it fails."""
    # Colours and progress are for people at a terminal.
    environment = {**os.environ, "NO_COLOR": "1", "CI": "true"}
    command = [find_program("npm", package="npm"), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"npm {' '.join(arguments)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


def fingerprint(paths: Iterable[Path]) -> str:
    """A digest of names and contents."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.name.encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


def stamp(folder: Path) -> str:
    """The fingerprint of what *folder* was made of, empty while it was not made."""
    made = folder / "stamp"
    return made.read_text() if made.exists() else ""


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Several test processes may want the same thing at the same time; the first one makes it."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
