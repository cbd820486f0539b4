"""What a prompt costs, by OpenAI's own arithmetic and for messages of every shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.domain.sessions import Message
from streamproxy.domain.tokens import (
    SAMPLED_CHARACTERS,
    TOKENS_PER_PICTURE,
    SamplingCounter,
    count_message,
    count_messages,
    message_text,
    messages_size,
    sampled_length,
    text_length,
)
from streamproxy.tokenizer import SHIPPED, EncodingCounter, EstimatingCounter, read_encoding

# The example of OpenAI's cookbook, "How to count tokens with tiktoken", with what the API reported for it.
JARGON: list[Message] = [
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant "
        "that translates corporate jargon into plain English.",
    },
    *(
        {"role": "system", "name": name, "content": content}
        for name, content in [
            ("example_user", "New synergies will help drive top-line growth."),
            ("example_assistant", "Things working well together will increase revenue."),
            (
                "example_user",
                "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
            ),
            ("example_assistant", "Let's talk later when we're less busy about how to do better."),
        ]
    ),
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
]
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "function", "name", "arguments", "refusal"]), inner)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(["role", "content", "name", "tool_calls", "function_call", "refusal", "audio"])


class Letters:
    """A counter that a reader can check: one token a letter."""

    def count(self, text: str) -> int:
        return len(text)

    def cut_middle(self, text: str, budget: int) -> str:
        return text[:budget]


@pytest.mark.parametrize(("encoding", "reported"), [("cl100k_base", 129), ("o200k_base", 124)])
def test_a_prompt_costs_what_the_api_reports(encoding: str, reported: int) -> None:
    counter = EncodingCounter(read_encoding(encoding, SHIPPED))
    assert count_messages(JARGON, counter) == reported


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ({"content": "abc"}, "abc"),
        ({"content": [{"type": "text", "text": "ab"}, {"type": "text", "text": "c"}]}, "ab\nc"),
        ({"content": None, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}, "f{}"),
        ({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, "f{}"),
        ({"content": None, "refusal": "no"}, "no"),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, "no"),
        ({"content": "abc", "name": "me"}, "abc\nme"),
        ({}, ""),
    ],
)
def test_all_text_that_a_model_reads_is_seen(message: Message, read: str) -> None:
    assert message_text(message) == read
    assert text_length([message]) == len(read.replace("\n", ""))


@pytest.mark.parametrize(
    "unusual",
    [
        {"role": "user", "content": "abc", "name": "me"},
        {"role": "user", "content": [{"type": "text", "text": "abc"}]},
        {"role": "assistant", "content": None},
        {"role": "user", "name": "me"},
        {"content": "abc", "name": "me"},
        {"content": "abc"},
        {},
    ],
)
def test_messages_together_are_as_large_as_each_by_itself(unusual: Message) -> None:
    """All of role and text, and with one among them that is not: counted for the first time and again."""
    counter = EncodingCounter(read_encoding("cl100k_base", SHIPPED))
    usual: list[Message] = [{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": "Fine."}]
    for messages in (usual, [*usual, unusual], [unusual, usual[0]], []):
        for _ in range(2):
            assert messages_size(messages, counter) == sum(count_message(m, counter) for m in messages)
        assert text_length(messages) == sum(text_length([m]) for m in messages)


def test_a_picture_costs_its_fixed_price() -> None:
    text = {"type": "text", "text": "abc"}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9999}}
    with_picture = count_message({"role": "user", "content": [text, picture]}, Letters())
    assert with_picture - count_message({"role": "user", "content": [text]}, Letters()) == TOKENS_PER_PICTURE


@given(st.dictionaries(FIELDS, JSON))
def test_a_message_of_any_shape_is_counted(message: Message) -> None:
    assert count_message(message, EstimatingCounter()) >= 4


@pytest.mark.parametrize("kind", ["prose", "digits", "mixed"])
def test_a_very_long_text_is_sampled_to_within_a_tenth(kind: str) -> None:
    """Never exact, never far off; up to 20,000 characters exact."""
    exact = EncodingCounter(read_encoding("o200k_base", SHIPPED))
    prose = "The proxy relays what the model says, and counts what nobody has counted for it. "
    digits = "".join(f"{n * 7919:09d} " for n in range(8000))
    text = {"prose": prose * 900, "digits": digits, "mixed": prose * 400 + digits[:40_000]}[kind]
    assert SamplingCounter(exact).count(text[:SAMPLED_CHARACTERS]) == exact.count(text[:SAMPLED_CHARACTERS])
    assert abs(SamplingCounter(exact).count(text) / exact.count(text) - 1) < 0.1
    assert sampled_length((text, "four")) < SAMPLED_CHARACTERS
