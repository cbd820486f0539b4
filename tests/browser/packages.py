"""What the browser tests use of npm: axe-core in the page, TypeScript beside it."""

from __future__ import annotations

from pathlib import Path

from tests.support.npm import installed


def modules() -> Path:
    """The folder of the modules that package.json names."""
    with installed(Path(__file__).parent / "node") as found:
        return found
