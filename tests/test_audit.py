"""``make audit`` fails for what is known, and for what nobody looked up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.audit import faults, main, pinned

GOOD = {"name": "tornado", "version": "6.6.1", "vulns": []}
BAD = {"name": "aiohttp", "version": "3.1", "vulns": [{"id": "CVE-1", "fix_versions": ["3.2"]}]}
SKIPPED = {"name": "redis", "skip_reason": "Dependency not found on PyPI and could not be audited: redis (8.1.0)"}


@pytest.mark.parametrize(
    ("dependencies", "wanted", "words"),
    [
        ([GOOD], 1, []),
        ([GOOD, BAD], 2, ["aiohttp 3.1: CVE-1, fixed in 3.2"]),
        ([GOOD, SKIPPED], 2, ["1 of 2 packages were not looked up (redis)"]),
        ([SKIPPED] * 9, 9, ["9 of 9 packages were not looked up"]),
        ([GOOD], 2, ["the report names 1 of 2 packages"]),
        ([], 1, ["the report names 0 of 1 packages"]),
    ],
)
def test_only_a_package_that_was_looked_up_is_sound(
    dependencies: list[dict[str, Any]], wanted: int, words: list[str]
) -> None:
    """pip-audit itself calls a run that skipped everything clean."""
    found = faults({"dependencies": dependencies}, wanted)
    assert len(found) == len(words)
    assert all(line.startswith(word) for line, word in zip(found, words, strict=True))


def test_a_run_without_a_report_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pip-audit that cannot even begin is no clean bill either."""
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\necho no network >&2\nexit 2\n")
    program.chmod(0o755)
    assert main([str(program)]) == 1
    assert "no network" in capsys.readouterr().err


def test_every_pinned_package_counts() -> None:
    assert pinned("# a==1\nb==2\n\nc\nd-e==3.0\n") == ["b==2", "d-e==3.0"]
