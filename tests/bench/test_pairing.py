"""Two trees are measured at once, and it is said which costs what."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.bench.machine import ROOT
from tests.bench.pairing import Pair, said

LONGEST_SECONDS = 100


def test_the_mean_is_told_with_its_error() -> None:
    assert said("W1", [Pair(9, 10), Pair(11, 10)]) == "W1: this tree costs 1.000 ± 0.100 times the other"
    assert said("W1", [Pair(5, 10)]) == "W1: this tree costs 0.500 times the other"


def test_both_are_measured_and_the_other_is_the_other(tmp_path: Path) -> None:
    """The other tree is a copy that says so when it is loaded; times are not looked at."""
    package, mark = tmp_path / "streamproxy", tmp_path / "loaded"
    subprocess.run(["cp", "-r", ROOT / "streamproxy", package], check=True)
    with (package / "__init__.py").open("a") as source:
        source.write(f"\nopen({str(mark)!r}, 'w').close()\n")
    command = [sys.executable, "-m", "tests.bench.pairing", tmp_path, "--only", "W1", "--rounds", "1"]
    # Its whole three seconds: among other tests both may stand still for some tenths of one.
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert re.search(r"^W1: this tree costs \d\.\d{3} times the other$", done.stdout, re.MULTILINE)
    assert mark.exists()


def test_a_folder_that_is_no_checkout_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench.pairing", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == f"{tmp_path} is no checkout: it has no streamproxy/__init__.py"
