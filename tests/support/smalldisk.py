"""A file system so small that a test can fill it: a tmpfs, for whoever may mount one."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

# An empty database of ours takes half of it in PostgreSQL.
SIZE = "24m"
BALLAST = "ballast"


@cache
def may_mount() -> bool:
    """Whether this account may mount: root, unless a container forbids it."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(_command(folder), capture_output=True, check=False).returncode != 0:
            return False
        subprocess.run(["umount", folder], check=True)
        return True


@contextmanager
def small_disk() -> Iterator[Path]:
    """A new folder that is a file system of its own, of ``SIZE``."""
    # Below /tmp, not pytest's: PostgreSQL's user must be able to reach it.
    with tempfile.TemporaryDirectory(prefix="streamproxy-disk-") as folder:
        subprocess.run(_command(folder), check=True)
        try:
            yield Path(folder)
        finally:
            # Lazily: who still has files open there must not keep the run from ending.
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not one page is left on *disk*."""
    ballast = disk / BALLAST
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
    try:
        yield
    finally:
        ballast.unlink()


def _command(folder: str) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "streamproxy-tests", folder]
