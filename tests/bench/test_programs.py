"""The load generator and the mock upstream: what they say is what happened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.machine import build
from tests.bench.measuring import Measurement, measure
from tests.bench.targets.mock import Mock, mock_upstream
from tests.bench.targets.target import Target
from tests.bench.workloads import Workload

SHORT = Workload("short", "", "bench-n20", 4, seconds=0.2, ramp=0.01, warm=0.05, expected=20)


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    with mock_upstream(tmp_path_factory.mktemp("mock")) as running:
        yield running


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("load", tmp_path_factory.mktemp("load"))


def ask(load: Path, mock: Mock, model: str, expected: int | None, **changes: object) -> Measurement:
    return measure(load, mock.direct, replace(SHORT, model=model, expected=expected, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["bench-n20", "bench-n20-w1", "bench-n20-r1000"])
def test_every_event_of_every_answer_is_counted(load: Path, mock: Mock, model: str) -> None:
    """Unpaced, one by one and paced: no error, and whole answers of twenty events."""
    found = ask(load, mock, model, 20)
    assert (found.errors, found.unfinished) == (0, 0), found.first_error
    assert found.requests > 0
    assert found.events >= 20 * (found.requests - SHORT.clients)
    assert found.cpu_us[0] > 0


def test_an_answer_that_lacks_an_event_is_an_error(load: Path, mock: Mock) -> None:
    """The load generator counts what must have come."""
    found = ask(load, mock, "bench-n20", 21)
    assert found.errors > 0
    assert found.requests == 0
    assert found.first_error.startswith("incomplete")


def test_an_answer_that_does_not_come_is_an_error(load: Path, mock: Mock) -> None:
    """The mock closes the connection of whoever asks for a model it does not know."""
    found = ask(load, mock, "unknown", None)
    assert found.errors > 0
    assert found.first_error.startswith("ended early")


def test_whole_answers_are_checked_too(load: Path, mock: Mock) -> None:
    """Without a stream there is one content, in one body."""
    found = ask(load, mock, "bench", None, stream=False)
    assert found.errors == 0, found.first_error
    assert found.requests > 0


def test_who_leaves_is_seen_to_leave(load: Path, mock: Mock) -> None:
    """For each client that left in the middle the mock tells of the same stream, at a later time."""
    found = ask(load, mock, "bench-n200-r100", None, leave_after=2)
    seen = mock.left()
    assert found.left
    assert all(seen[stream] > at for stream, at in found.left)


def test_a_fixed_rate_is_kept(load: Path, mock: Mock) -> None:
    """In the open loop requests are due by the clock: fifty a second are ten in a fifth of it."""
    found = ask(load, mock, "bench-n20", 20, rate=50, seconds=1)
    assert found.errors == 0
    assert 40 <= found.requests + found.late <= 60


def test_a_target_that_is_not_there_is_an_error(load: Path) -> None:
    """Nobody listens on port 1."""
    found = measure(load, Target("nobody", 1), SHORT)
    assert found.errors > 0
    assert found.first_error.startswith("connect")
