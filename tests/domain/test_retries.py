"""Retries are a share of the traffic."""

from __future__ import annotations

from streamproxy.domain.retries import CEILING, FLOOR, RETURN, RetryBudget


def spent(budget: RetryBudget, tries: int) -> int:
    return sum(budget.spend() for _ in range(tries))


def test_a_failing_upstream_is_asked_again_for_a_fifth_of_the_requests() -> None:
    """Whatever each of a thousand requests would like, 200 retries follow, and the first few that cost nobody."""
    budget, retries = RetryBudget(lambda: 0.0), 0
    for _ in range(1000):
        budget.earn()
        retries += spent(budget, 2)
    assert 200 <= retries <= 200 + FLOOR


def test_quiet_times_do_not_save_up_a_flood() -> None:
    budget = RetryBudget(lambda: 0.0)
    for _ in range(100_000):
        budget.earn()
    assert spent(budget, 1000) == CEILING


def test_a_site_with_little_traffic_has_its_second_tries_back_after_a_bad_hour() -> None:
    """A few, however long it was quiet; and no more than those while it is used up again and again."""
    now = 0.0
    budget = RetryBudget(lambda: now)
    assert spent(budget, 1000) == FLOOR
    now += 3600
    assert spent(budget, 1000) == FLOOR
    late = 0
    for _ in range(100):
        now += 1
        late += spent(budget, 2)
    assert late <= 100 * RETURN
