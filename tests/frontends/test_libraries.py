"""Pages over other libraries: the browser's EventSource, @microsoft/fetch-event-source, and the Vercel AI SDK."""

from __future__ import annotations

import pytest

from tests.frontends.promises import (
    test_a_network_that_is_away_for_three_seconds_costs_no_word,
    test_a_reload_goes_on_where_it_was,
    test_each_word_is_shown_before_the_upstream_has_said_the_next,
    test_it_can_be_read_and_used_by_everybody_at_every_width,
    test_stop_closes_the_upstream_within_a_second_and_keeps_what_was_said,
    test_workers_that_are_replaced_in_mid_answer_cost_no_word,
)

__all__ = [
    "test_a_network_that_is_away_for_three_seconds_costs_no_word",
    "test_a_reload_goes_on_where_it_was",
    "test_each_word_is_shown_before_the_upstream_has_said_the_next",
    "test_it_can_be_read_and_used_by_everybody_at_every_width",
    "test_stop_closes_the_upstream_within_a_second_and_keeps_what_was_said",
    "test_workers_that_are_replaced_in_mid_answer_cost_no_word",
]

pytestmark = [
    pytest.mark.parametrize("app", ["eventsource", "fetch-event-source", "ai-sdk"], indirect=True),
    pytest.mark.gen_test(timeout=60),
]
