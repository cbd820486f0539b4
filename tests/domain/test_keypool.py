"""Which key answers next."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

from streamproxy.domain.keypool import (
    Candidate,
    Key,
    KeyState,
    KeyStatus,
    Upstream,
    available,
    back_at,
    candidates,
    choose,
    key_id,
)
from streamproxy.domain.limits import LimitPolicy

NOW = 1_800_000_000.0
UPSTREAM = Upstream("one", "openai", "https://one.example/v1", {"gpt-4o": "*", "mini": "gpt-4o-mini", "o-*": "*"})


def offer(*names: str, upstream: Upstream = UPSTREAM, **weights: int) -> list[Candidate]:
    return [Candidate(upstream, Key(name, f"sk-{name}", weights.get(name, 1)), "m") for name in names]


def names(found: list[Candidate]) -> list[str]:
    return [c.key.id for c in found]


def test_models_are_served_by_name_and_by_pattern_and_renamed() -> None:
    upstream = replace(UPSTREAM, keys=(Key("a", "x"),))
    assert [c.model for m in ("gpt-4o", "mini", "o-1", "other") for c in candidates([upstream], m)] == [
        "gpt-4o",
        "gpt-4o-mini",
        "o-1",
    ]


def test_available_is_healthy_and_not_full_and_not_tried() -> None:
    statuses = {"cooling": KeyStatus(KeyState.COOLING, NOW + 1), "cooled": KeyStatus(KeyState.COOLING, NOW)}
    full = {"full": NOW + 1, "was-full": NOW}
    offered = offer("cooling", "cooled", "full", "was-full", "tried", "fresh")
    found = available(offered, statuses=statuses, full=full, tried={"tried"}, now=NOW)
    assert names(found) == ["cooled", "was-full", "fresh"]
    assert available(offered, statuses={}, full={}, tried=(), now=NOW) == offered


def test_the_lowest_priority_number_is_asked_first() -> None:
    spare = replace(UPSTREAM, priority=1)
    free = offer("spare", upstream=spare) + offer("first")
    assert choose(free, running={}, on_trial=(), random=Random(1)) == offer("first")[0]


def test_the_fewest_running_by_weight_win() -> None:
    free = offer("light", "heavy", heavy=4)
    running: Counter[str] = Counter()
    for _ in range(50):
        chosen = choose(free, running=running, on_trial=(), random=Random(1))
        assert chosen is not None
        running[chosen.key.id] += 1
    assert running == {"light": 10, "heavy": 40}


def test_among_the_equally_idle_each_is_chosen_by_its_weight() -> None:
    """Not the first of them: every worker begins with all keys idle."""
    free, random = offer("one", "two", "three"), Random(1)
    chosen = [choose(free, running={}, on_trial=(), random=random) for _ in range(3000)]
    assert all(900 < chosen.count(candidate) < 1100 for candidate in free)
    free = offer("light", "heavy", heavy=4)
    chosen = [choose(free, running={}, on_trial=(), random=random) for _ in range(1000)]
    assert 150 < chosen.count(free[0]) < 250


def test_a_key_on_trial_is_left_alone() -> None:
    free = offer("trial", "proved")
    for seed in range(9):
        assert choose(free, running={"proved": 99}, on_trial=["trial"], random=Random(seed)) == free[1]


def test_when_all_of_the_best_priority_are_on_trial_their_outcome_is_waited_for() -> None:
    """A fallback is for failures, not for the second in which the first key is tried."""
    fallback = offer("fallback", upstream=replace(UPSTREAM, priority=1))
    assert choose(offer("trial") + fallback, running={}, on_trial=["trial"], random=Random(1)) is None
    assert choose([], running={}, on_trial=(), random=Random(1)) is None


def test_the_wait_is_that_of_the_first_key_to_come_back() -> None:
    offered = offer("parked", "full", "dead")
    statuses = {"parked": KeyStatus(KeyState.PARKED, NOW + 3600), "dead": KeyStatus(KeyState.DISABLED)}
    assert back_at(offered, statuses, {"full": NOW + 7}, now=NOW) == NOW + 7
    assert back_at(offered[:1], statuses, {}, now=NOW) == NOW + 3600
    assert back_at(offered[2:], statuses, {}, now=NOW) is None


def test_a_key_is_named_without_being_told() -> None:
    secret = "sk-live-0123456789"
    key = Key(key_id("one", secret), secret)
    assert secret not in repr(key)
    assert secret not in key.id
    assert key.id != key_id("two", secret)
    assert (key.last4, Key("k", "short").last4) == ("6789", "")


def test_a_key_is_limited_by_any_limit() -> None:
    assert not Key("k", "x", limits=LimitPolicy()).limited
    assert replace(Key("k", "x"), limits=LimitPolicy(streams=1)).limited
