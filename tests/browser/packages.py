"""What the browser tests use of npm: axe-core in the page, TypeScript beside it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support.processes import find_program

FOLDER = Path(__file__).parent / "node"
MODULES = FOLDER / "node_modules"
_NEEDED = ("axe-core", "typescript")


def install() -> None:
    """Have npm install what package.json names, once."""
    if all((MODULES / name / "package.json").exists() for name in _NEEDED):
        return
    npm = find_program("npm", package="npm")
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    done = subprocess.run([npm, "install", *options], cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(MODULES, ignore_errors=True)
        raise RuntimeError(f"npm could not install what the browser tests need:\n{done.stderr}")
