"""schemathesis over /openapi.json, a short run; `make fuzz-api` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.openapi.fuzz import fuzz, running_proxy

# Some 400 cases, the same ones each time: what a change breaks is then found at the change.
PROFILE = (
    "--phases",
    "examples,fuzzing,stateful",
    "--max-examples",
    "4",
    "--workers",
    "2",
    "--seed",
    "1",
    "--no-color",
)


@pytest.mark.timeout(300)
def test_a_generated_run_finds_nothing(tmp_path: Path) -> None:
    """All checks: statuses, shapes and headers as documented, bad input refused, good input taken, 401 without a
    credential, 405 with Allow, and no fault in the server's log."""
    with running_proxy(tmp_path) as proxy:
        assert fuzz(proxy, PROFILE) == 0
