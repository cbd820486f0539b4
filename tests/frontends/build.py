"""Installs and builds the example pages once, and again only when something they are made of has changed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import find_program

FOLDER = Path(__file__).parent
STATIC = FOLDER.parents[1] / "streamproxy" / "static"
MODULES = FOLDER / "node_modules"
DIST = FOLDER / "dist"
_MADE_OF = ("*.js", "*.jsx", "*.vue", "*.html", "*.css")


def install() -> Path:
    """``npm ci`` in the folder of the pages; the installed modules."""
    with _one_at_a_time():
        return _installed()


def build() -> Path:
    """``vite build``; the folder with the built pages, ``<name>/index.html`` each."""
    with _one_at_a_time():
        _installed()
        print_of_sources = _fingerprint([FOLDER / "package-lock.json", *_sources()])
        if _stamp(DIST) != print_of_sources:
            _npm("run", "build", "--", "--logLevel", "warn")
            (DIST / "stamp").write_text(print_of_sources)
    return DIST


def _installed() -> Path:
    wanted = _fingerprint([FOLDER / "package-lock.json"])
    if _stamp(MODULES) != wanted:
        _npm("ci", "--loglevel=error")
        (MODULES / "stamp").write_text(wanted)
    return MODULES


def _sources() -> Iterator[Path]:
    for folder in (FOLDER, *(path for path in FOLDER.iterdir() if (path / "index.html").exists()), STATIC):
        for pattern in _MADE_OF:
            yield from folder.glob(pattern)


def _fingerprint(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.name.encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


def _stamp(folder: Path) -> str:
    stamp = folder / "stamp"
    return stamp.read_text() if stamp.exists() else ""


def _npm(*arguments: str) -> None:
    # Colours and progress are for people at a terminal.
    environment = {**os.environ, "NO_COLOR": "1", "CI": "true"}
    command = [find_program("npm", package="npm"), *arguments]
    done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"npm {' '.join(arguments)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Several test processes may want the same thing at the same time; the first one makes it."""
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
