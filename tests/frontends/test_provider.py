"""The Vercel AI SDK's OpenAI-compatible provider in the page: plain answers, which end with their connection."""

from __future__ import annotations

import pytest

from tests.frontends.promises import (
    test_each_word_is_shown_before_the_upstream_has_said_the_next,
    test_stop_closes_the_upstream_within_a_second_and_keeps_what_was_said,
)

__all__ = [
    "test_each_word_is_shown_before_the_upstream_has_said_the_next",
    "test_stop_closes_the_upstream_within_a_second_and_keeps_what_was_said",
]

pytestmark = [pytest.mark.parametrize("app", ["ai-sdk-provider"], indirect=True), pytest.mark.gen_test(timeout=60)]
