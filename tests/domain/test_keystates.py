"""How a key's status changes, whoever finds out what first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamproxy.domain.keypool import HEALTHY, KeyState, KeyStatus, Verdict
from streamproxy.domain.keystates import Tally, answered, failing, found, merged, restored, still

NOW = 1_800_000_000.0
DEAD = Verdict(KeyState.DISABLED, None, "invalid_api_key", "Incorrect API key provided")
BROKE = Verdict(KeyState.PARKED, 3600, "insufficient_quota")
HOT = Verdict(KeyState.COOLING, 20, "upstream_rate_limited")


def after(*verdicts: Verdict, began: float = NOW) -> KeyStatus:
    status = HEALTHY
    for verdict in verdicts:
        status = found(verdict, began=began, now=NOW)(status)
    return status


def test_a_verdict_says_state_end_reason_and_the_providers_words() -> None:
    assert after(BROKE) == KeyStatus(KeyState.PARKED, NOW + 3600, "insufficient_quota", "", NOW)
    assert after(DEAD).message == "Incorrect API key provided"
    assert after(DEAD).until == 0


@pytest.mark.parametrize("milder", [HOT, BROKE])
def test_bad_news_never_makes_a_status_better(milder: Verdict) -> None:
    assert after(DEAD, milder) == after(DEAD)
    assert after(milder, DEAD).state is KeyState.DISABLED


def test_the_longer_of_two_cool_downs_holds() -> None:
    longer = replace(HOT, seconds=40)
    assert after(HOT, longer).until == after(longer, HOT).until == NOW + 40


def test_old_news_does_not_undo_what_brought_a_key_back() -> None:
    """A request that left before the key was restored says nothing about the restored key."""
    restored_at = KeyStatus(changed=NOW - 10)
    assert found(DEAD, began=NOW - 20, now=NOW)(restored_at) == restored_at
    assert found(DEAD, began=NOW - 5, now=NOW)(restored_at).state is KeyState.DISABLED


def test_a_cool_down_ends_by_itself_and_a_parked_key_waits_for_a_probe() -> None:
    assert not after(HOT).healthy(NOW + 19)
    assert after(HOT).healthy(NOW + 20)
    assert after(HOT).standing(NOW + 20) is KeyState.HEALTHY
    assert not after(BROKE).healthy(NOW + 1e6)


def test_each_setback_in_a_row_makes_the_pause_longer_until_a_good_answer() -> None:
    pause = [1.0, 2.0, 4.0].__getitem__
    first = failing("upstream_error", began=NOW, now=NOW, pause=pause)(HEALTHY)
    assert (first.state, first.until, first.setbacks) == (KeyState.COOLING, NOW + 1, 1)
    second = failing("upstream_error", began=NOW + 1, now=NOW + 1, pause=pause)(first)
    assert (second.until, second.setbacks) == (NOW + 3, 2)
    assert answered(NOW + 3)(second) == KeyStatus(changed=NOW + 1)


def test_failures_of_requests_that_left_before_the_cool_down_do_not_prolong_it() -> None:
    """Two hundred requests in flight fail together: that is one setback."""
    once = failing("upstream_error", began=NOW, now=NOW, pause=lambda _: 1.0)(HEALTHY)
    late = failing("upstream_error", began=NOW - 5, now=NOW + 2, pause=lambda _: 1.0)
    assert late(once) == once


def test_a_good_answer_changes_nothing_while_a_key_is_out() -> None:
    for status in (after(HOT), after(BROKE), after(DEAD)):
        assert answered(NOW)(status) == status


def test_a_probe_restores_only_what_it_saw() -> None:
    seen = after(BROKE)
    assert restored(seen, now=NOW + 5)(seen) == KeyStatus(changed=NOW + 5)
    meanwhile = after(DEAD)
    assert restored(seen, now=NOW + 5)(meanwhile) == meanwhile


def test_a_failed_probe_prolongs_the_parking_and_may_find_the_key_dead() -> None:
    seen = after(BROKE)
    later = still(seen, None, now=NOW + 3600, wait=300)(seen)
    assert (later.state, later.until) == (KeyState.PARKED, NOW + 3900)
    assert still(seen, DEAD, now=NOW + 3600, wait=300)(seen).state is KeyState.DISABLED
    assert still(after(DEAD), BROKE, now=NOW, wait=300)(after(DEAD)) == after(DEAD)
    assert still(seen, DEAD, now=NOW, wait=300)(after(DEAD)) == after(DEAD)


def test_the_later_of_two_statuses_holds() -> None:
    older, newer = KeyStatus(changed=NOW), after(DEAD, began=NOW)
    assert merged(replace(newer, changed=NOW + 1))(older).state is KeyState.DISABLED
    assert merged(older)(replace(newer, changed=NOW + 1)).state is KeyState.DISABLED


def test_tallies_add_up_and_keep_the_last_error() -> None:
    total = Tally(1, 1, "upstream_error", NOW) + Tally(2)
    assert total == Tally(3, 1, "upstream_error", NOW)
    assert (total + Tally(0, 1, "upstream_quota", NOW + 1)).last_error == "upstream_quota"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Incorrect API key provided: sk-ab***yz9.", "Incorrect API key provided: sk-***"),
        ("See https://platform.openai.com/account/api-keys.", "See https://platform.openai.com/account/api-keys."),
        ("key 5d41402abc4b2a76 of team-blue-9a8b7c is dead", "key *** of *** is dead"),
        ("账户已欠费,请充值", "账户已欠费,请充值"),
        ("\x1b[31mred\r\nsecond line", " [31mred second line"),
        ("x" * 5000, "x" * 300),
    ],
)
def test_the_providers_words_are_kept_without_what_may_be_a_secret(said: str, kept: str) -> None:
    assert after(replace(DEAD, message=said)).message == kept


def test_a_code_that_is_none_is_not_kept() -> None:
    assert after(replace(DEAD, reason="sk-live 0123456789")).reason == "unreadable_code"
