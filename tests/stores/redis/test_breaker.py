"""The breaker by its clock: closed, open, half open."""

from __future__ import annotations

import pytest

from streamproxy.stores.redis.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock=clock)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        assert breaker.admit()
        breaker.failed()


def test_opens_after_three_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert breaker.closed
    fail(breaker, 1)
    assert not breaker.closed
    assert not breaker.admit()


def test_one_call_that_met_silence_opens_it(breaker: Breaker) -> None:
    breaker.failed(silent=True)
    assert not breaker.closed


def test_a_success_between_failures_starts_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.closed


def test_lets_one_probe_through_after_a_tenth_of_a_second(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 0.09
    assert not breaker.admit()
    clock.now += 0.02
    assert [breaker.admit() for _ in range(3)] == [True, False, False]


def test_a_good_probe_closes_it(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 1
    assert breaker.admit()
    breaker.succeeded()
    assert breaker.closed
    assert [breaker.admit() for _ in range(3)] == [True, True, True]


def open_for(breaker: Breaker, clock: Clock) -> float:
    """How long it lets nobody through from now on, in seconds; the probe is under way then."""
    began = clock.now
    while not breaker.admit():
        clock.now += 0.01
    return round(clock.now - began, 1)


def test_each_bad_probe_doubles_how_long_it_is_open_up_to_a_second(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    found = []
    for _ in range(6):
        found.append(open_for(breaker, clock))
        breaker.failed(silent=True)
    assert found == [0.1, 0.2, 0.4, 0.8, 1, 1]


@pytest.mark.parametrize(("seconds", "expected"), [(9, 0.4), (11, 0.1)])
def test_what_opens_again_soon_is_open_for_longer_and_what_was_well_begins_anew(
    breaker: Breaker, clock: Clock, seconds: float, expected: float
) -> None:
    fail(breaker, 3)
    open_for(breaker, clock)
    breaker.failed()
    assert open_for(breaker, clock) == 0.2
    breaker.succeeded()
    clock.now += seconds
    breaker.failed(silent=True)
    assert open_for(breaker, clock) == expected


def test_calls_that_fail_together_are_no_probes(breaker: Breaker, clock: Clock) -> None:
    for _ in range(8):
        assert breaker.admit()
    for _ in range(8):
        breaker.failed(silent=True)
    assert open_for(breaker, clock) == 0.1


def test_an_abandoned_probe_lets_the_next_one_through(breaker: Breaker, clock: Clock) -> None:
    """The client whose request was the probe left: that says nothing about the server."""
    fail(breaker, 3)
    clock.now += 1
    assert breaker.admit()
    breaker.abandoned()
    assert not breaker.closed
    assert breaker.admit()
