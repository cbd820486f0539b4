"""Builds the example pages once, and again only when something they are made of has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.support.npm import fingerprint, installed, npm, stamp

FOLDER = Path(__file__).parent
STATIC = FOLDER.parents[1] / "streamproxy" / "static"
DIST = FOLDER / "dist"
_MADE_OF = ("*.js", "*.jsx", "*.vue", "*.html", "*.css")


def install() -> Path:
    """The modules that the pages are made of."""
    with installed(FOLDER) as modules:
        return modules


def build() -> Path:
    """``vite build``; the folder with the built pages, ``<name>/index.html`` each."""
    with installed(FOLDER):
        print_of_sources = fingerprint([FOLDER / "package-lock.json", *_sources()])
        if stamp(DIST) != print_of_sources:
            npm(FOLDER, "run", "build", "--", "--logLevel", "warn")
            (DIST / "stamp").write_text(print_of_sources)
    return DIST


def _sources() -> Iterator[Path]:
    for folder in (FOLDER, *(path for path in FOLDER.iterdir() if (path / "index.html").exists()), STATIC):
        for pattern in _MADE_OF:
            yield from folder.glob(pattern)
