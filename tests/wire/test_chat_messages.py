"""Messages that are JSON already are sent as they are, and are what they say to whoever looks."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.wire.chat import SpelledMessages, encode_request, new_request

MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool"]), "content": st.text() | st.none()},
        optional={"name": st.text(), "extra": st.lists(st.integers(-9, 9) | st.text())},
    ),
    max_size=3,
)


@given(MESSAGES, st.lists(MESSAGES, max_size=4), MESSAGES)
def test_they_are_those_before_the_earlier_and_the_new(
    head: list[Any], earlier: list[list[Any]], new: list[Any]
) -> None:
    """An upstream gets the same from them, with brackets and commas in what was said and with nothing said at all."""
    messages = SpelledMessages(head, map(msgspec.json.encode, earlier), new)
    everything = [*head, *(message for some in earlier for message in some), *new]
    assert (messages, len(messages), [*messages]) == (everything, len(everything), everything)
    request = new_request("m", [{"role": "user", "content": "?"}], stream=True)
    spelled, plain = (
        encode_request(request, model="m", messages=some, ask_usage=True) for some in (messages, everything)
    )
    assert spelled == plain


def test_what_people_said_is_not_in_their_repr() -> None:
    messages = SpelledMessages((), [b'[{"role":"user","content":"my secret"}]'], ())
    assert messages[0]["content"] == "my secret"
    assert messages[-1:] == [messages[0]]
    assert "secret" not in repr(messages)
