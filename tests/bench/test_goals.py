"""Verdicts follow from the figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.bench.goals import ONE_BESIDE, TWO, Verdict, verdicts
from tests.bench.measuring import Row
from tests.bench.results import Memory, Results

ROW = Row("W3", "", "nginx", 3, 2000, 10, 0, 0, 0.2, 100, 20_000, 0.1, 1, 0.1, 1, 30, 100, 0, "", 0)


def verdict(results: Results, what: str) -> Verdict:
    return next(v for v in verdicts(results) if v.what == what)


@pytest.mark.parametrize(
    ("cpu", "met", "aimed"), [(12.9, True, True), (13.1, True, False), (20, True, False), (20.1, False, False)]
)
def test_a_ratio_is_held_against_must_and_aim(cpu: float, met: bool, aimed: bool) -> None:
    """W3 may cost twice what nginx costs, and had better cost 1.3 times as much."""
    rows = [ROW, replace(ROW, target="streamproxy", cpu_us_an_event=cpu)]
    found = verdict(Results({}, rows=rows), "W3: CPU an event, against nginx")
    assert (found.met, found.aimed) == (met, aimed)


def test_a_ratio_is_that_of_the_median_round() -> None:
    """A machine that is twice as slow in one round is so for both."""
    rows = [
        replace(ROW, cpu_us_an_event=10, rounds_us=(10, 24, 9)),
        replace(ROW, target="streamproxy", cpu_us_an_event=22, rounds_us=(19, 48, 22)),
    ]
    found = verdict(Results({}, rows=rows), "W3: CPU an event, against nginx")
    assert (found.found_text, found.rounds_text) == ("2.00 ×", "1.90 × to 2.44 ×")


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    """Without LiteLLM there is no verdict about it."""
    found = verdict(Results({}, rows=[ROW]), "W1: CPU a request, against LiteLLM")
    assert (found.found_text, found.met) == ("not measured", None)


def test_two_workers_are_judged_by_what_a_request_costs() -> None:
    """Twice the processes do twice the work when each request costs as much as before."""
    one = replace(ROW, workload="W1", target=ONE_BESIDE, cpu_us_a_request=100)
    two = replace(one, target=TWO, cpu_us_a_request=125)
    rows = [replace(one, cpu_us_an_event=5), replace(two, cpu_us_an_event=6.25)]
    found = verdict(Results({}, rows=rows), "two workers instead of one, W1 by CPU a request")
    assert (found.found_text, found.met) == ("1.60 ×", False)


def test_only_errors_of_streamproxy_condemn_a_run() -> None:
    """A peer that cannot keep up is told of in its row."""
    rows = [replace(ROW, target="LiteLLM", errors=5), ROW]
    assert Results({}, rows=rows).own_errors() == []
    assert Results({}, memory=[Memory("streamproxy", 10, 1, 2, 3, 4)]).own_errors() == ["memory: 4 errors"]
