"""The size of an answer as its session keeps it: by the upstream's word, where that can be about this text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamproxy.services.outcome import reported_tokens
from streamproxy.wire.chat import Transcript


def used(tokens: int, *, thought: int | None = None) -> dict[str, Any]:
    details = {} if thought is None else {"completion_tokens_details": {"reasoning_tokens": thought}}
    return {"prompt_tokens": 1, "completion_tokens": tokens, **details}


WORDS = {"role": "assistant", "content": "x" * 320}
WIDE = {**WORDS, "content": "\u00fc" * 320}
REFUSED = {**WORDS, "refusal": "no way"}
THOUGHT = {**WORDS, "reasoning_content": "hm"}


@pytest.mark.parametrize(
    ("message", "usage", "tokens"),
    [
        (WORDS, used(80), 80),
        (WORDS, used(320), 320),
        (WORDS, used(10), 10),
        (THOUGHT, used(100, thought=20), 80),
        # Bytes are what counts, of the refusal and the calls too.
        (WIDE, used(640), 640),
        (WIDE, used(641), None),
        (REFUSED, used(327), 327),
        (REFUSED, used(328), None),
        # Not about this text, or not about it alone.
        (WORDS, None, None),
        (WORDS, used(321), None),
        (WORDS, used(9), None),
        (WORDS, used(0), None),
        (THOUGHT, used(100), None),
    ],
)
def test_the_upstreams_word_is_taken_where_it_is_about_the_answers_text(
    message: dict[str, Any], usage: dict[str, Any] | None, tokens: int | None
) -> None:
    completion = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    said = Transcript.of_completion(json.dumps(completion).encode()).reading
    answer = said.message()
    assert answer is not None
    assert reported_tokens(said, answer) == tokens
