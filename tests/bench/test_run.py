"""The benchmark itself works: what it starts answers without errors, and what it found becomes a page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.machine import ROOT
from tests.bench.results import read

LONGEST_SECONDS = 100


def test_a_small_run_measures_without_errors_and_writes_its_report(tmp_path: Path) -> None:
    """nginx and streamproxy, a few hundred events of each workload; times are not looked at."""
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    command = [sys.executable, "-m", "tests.bench.run", "--kind", "smoke", "--json", figures, "--page", page]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    results = read(figures)
    assert {(row.workload, row.target) for row in results.rows} >= {
        (workload, target) for workload in ("W1", "W3", "W5") for target in ("nginx", "streamproxy")
    }
    # How many fit into the window is the machine's affair.
    assert [row for row in results.rows if row.errors or row.unfinished or not row.answered] == []
    assert [moments for moments in results.moments if moments.missing or not moments.count] == []
    assert all(f"### {row.workload}: {row.what}" in page.read_text() for row in results.rows)
