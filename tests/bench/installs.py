"""Peers live outside the tree, in a cache folder, each in an environment of its own.

``${XDG_CACHE_HOME:-~/.cache}/streamproxy-bench/<name>``; a file beside it says what was installed, so that a second
run installs nothing and a changed list installs anew. About 1 GB in all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.processes import find_program

LONGEST_SECONDS = 900
# The last lines of a package manager say what was wrong.
_REASON_CHARACTERS = 300


class PeerMissingError(RuntimeError):
    """A peer that cannot be installed or does not run here; the text is the reason, for the report."""


def cache_folder() -> Path:
    """Where peers are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamproxy-bench"


def python_environment(name: str, *packages: str) -> Path:
    """The ``bin`` folder of a virtual environment that has *packages*; PeerMissingError when they cannot be had."""
    folder = cache_folder() / name

    def install() -> None:
        _call(name, [sys.executable, "-m", "venv", folder])
        _call(name, [folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", *packages])

    _once(folder, "\n".join(packages), install)
    return folder / "bin"


def node_environment(name: str, package_json: Path) -> Path:
    """A folder with the ``node_modules`` that *package_json* asks for; PeerMissingError when they cannot be had."""
    folder = cache_folder() / name

    def install() -> None:
        folder.mkdir(parents=True)
        shutil.copy(package_json, folder / "package.json")
        npm = find_program("npm", package="npm")
        _call(name, [npm, "install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund"])

    _once(folder, package_json.read_text(), install)
    return folder


def _once(folder: Path, wanted: str, install) -> None:  # type: ignore[no-untyped-def]
    stamp = folder.with_suffix(".installed")
    if folder.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {folder.name} into {folder} ...", flush=True)
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    install()
    stamp.write_text(wanted)


def _call(name: str, command: list[str | Path]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    except (subprocess.TimeoutExpired, OSError) as fault:
        raise PeerMissingError(f"{name} could not be installed: {fault}") from None
    if done.returncode:
        raise PeerMissingError(
            f"{name} could not be installed: {(done.stderr or done.stdout).strip()[-_REASON_CHARACTERS:]}"
        )
