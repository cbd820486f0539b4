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
from tests.support.processes import wait_until

# The window ends with the last of them, however busy the machine is.
SHORT = Workload("short", "", "bench-n20", 4, seconds=30, ramp=0, warm=0, expected=20, requests=100)


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
    """Unpaced, one by one and paced: no error, and a hundred answers of twenty events."""
    found = ask(load, mock, model, 20)
    assert (found.errors, found.unfinished) == (0, 0), found.first_error
    assert (found.answered, found.requests, found.events) == (100, 100, 2000)
    assert found.cpu_us[0] > 0


def test_an_answer_that_lacks_an_event_is_an_error(load: Path, mock: Mock) -> None:
    """The load generator counts what must have come."""
    found = ask(load, mock, "bench-n20", 21, requests=4)
    assert (found.errors, found.answered) == (4, 0)
    assert found.first_error.startswith("incomplete")


def test_an_answer_that_does_not_come_is_an_error(load: Path, mock: Mock) -> None:
    """The mock closes the connection of whoever asks for a model it does not know."""
    found = ask(load, mock, "unknown", None, requests=4)
    assert (found.errors, found.answered) == (4, 0)
    assert found.first_error.startswith("ended early")


def test_whole_answers_are_checked_too(load: Path, mock: Mock) -> None:
    """Without a stream there is one content, in one body."""
    found = ask(load, mock, "bench", None, stream=False)
    assert (found.errors, found.answered) == (0, 100), found.first_error


def test_who_leaves_is_seen_to_leave(load: Path, mock: Mock) -> None:
    """For each client that left in the middle the mock tells of the same stream, at a later time."""
    found = ask(load, mock, "bench-n200-r100", None, leave_after=2, requests=20)
    wait_until(lambda: mock.running() == 0, "the mock has seen them all leave")
    seen = mock.left()
    assert len(found.left) == 20
    assert all(seen[stream] > at for stream, at in found.left)


def test_a_fixed_rate_is_kept(load: Path, mock: Mock) -> None:
    """In the open loop requests are due by the clock: forty at a hundred a second take 0.39 s at the least."""
    found = ask(load, mock, "bench-n20", 20, rate=100, requests=40)
    assert (found.errors, found.answered) == (0, 40)
    assert found.seconds >= 0.39


def test_a_target_that_is_not_there_is_an_error(load: Path) -> None:
    """Nobody listens on port 1."""
    found = measure(load, Target("nobody", 1), replace(SHORT, requests=4))
    assert (found.errors, found.answered) == (4, 0)
    assert found.first_error.startswith("connect")
