"""What is asked is what the load generator is told."""

from __future__ import annotations

from itertools import pairwise

from tests.bench.targets.target import Target
from tests.bench.workloads import (
    FIRST,
    LASTING,
    LEAVING,
    LONG,
    NEW_SESSIONS,
    RESUMABLE,
    SLOW,
    W1,
    W1_DOUBLED,
    W2,
    W2W,
    W3,
    W5,
    idle_streams,
    many_streams,
)

TARGET = Target("any", 8000, (1, 2), ("Authorization: Bearer x",))


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_numbers_are_written_out() -> None:
    """The load generator reads digits: 4e+06 would be a four."""
    assert option(W3.arguments(TARGET), "-I") == "4000000"


def test_workloads_have_sessions_of_their_own() -> None:
    """A context that one workload has grown is not loaded by another."""
    named = (W1, W1_DOUBLED, LONG, W2, W2W, W3, LASTING, RESUMABLE, W5, FIRST, LEAVING, SLOW)
    workloads = (*named, idle_streams(2000, TARGET), many_streams(5000, TARGET))
    taken = sorted((asked.first_session, asked.sessions) for w in workloads for asked in map(w.in_round, range(20)))
    assert all(first + count <= following for (first, count), (following, _) in pairwise(taken))
    assert NEW_SESSIONS.in_round(3) == NEW_SESSIONS


def test_a_session_has_had_its_turns_before_it_is_measured() -> None:
    """In the sessions of that round, and as many as the workload says."""
    asked = LONG.in_round(2)
    before = asked.first_turns().arguments(TARGET)
    assert (option(before, "-n"), option(before, "-i"), option(before, "-I")) == (
        str(50 * LONG.sessions),
        option(asked.arguments(TARGET), "-i"),
        option(asked.arguments(TARGET), "-I"),
    )


def test_no_session_is_asked_twice_at_once() -> None:
    """Its second turn would wait for the first."""
    assert all(w.sessions > w.clients for w in (W1, W3, idle_streams(5000, TARGET), many_streams(5000, TARGET)))


def test_the_target_says_how_it_is_asked() -> None:
    """Its headers, its process trees, its port; the model comes last."""
    arguments = W1.arguments(TARGET)
    assert (option(arguments, "-H"), option(arguments, "-p")) == ("Authorization: Bearer x", "1,2")
    assert arguments[-2:] == ["8000", "bench-n20"]
