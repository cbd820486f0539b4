"""What every fault has in common: whole installations, random moments with a seed, and a log without faults."""

from __future__ import annotations

from random import Random

import pytest

from tests.e2e.conftest import speak
from tests.faults.profile import SEED

__all__ = ["speak"]


@pytest.fixture
def random() -> Random:
    """The run's random numbers. A failing test shows how to have the same again."""
    print(f"FAULTS_SEED={SEED}")
    return Random(SEED)
