"""Messages that are JSON already are sent as they are, and are what they say to whoever looks."""

from __future__ import annotations

import json
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


FIELDS = st.dictionaries(st.sampled_from(["temperature", "tools", "stop", "user"]), st.text() | st.integers(0, 9))


def spelled(messages: list[Any]) -> bytes:
    return b",".join(map(msgspec.json.encode, messages))


@given(MESSAGES, MESSAGES.filter(bool), MESSAGES, FIELDS, FIELDS)
def test_they_are_those_before_the_earlier_and_the_new(
    head: list[Any], earlier: list[Any], new: list[Any], before: dict[str, Any], behind: dict[str, Any]
) -> None:
    """An upstream gets the same from them, with brackets and commas in what was said and with nothing new.

    Wherever in its body the client has put its messages, which are not those that are sent.
    """
    messages, everything = SpelledMessages(head, spelled(earlier), new), [*head, *earlier, *new]
    own = {"messages": [{"role": "user", "content": "not sent"}], "model": "not this", "stream": True}
    request = msgspec.structs.replace(new_request("m", [], stream=True), fields={**before, **own, **behind})
    bodies = [
        b"".join(encode_request(request, model="m", messages=some, ask_usage=True)) for some in (messages, everything)
    ]
    assert bodies[0] == bodies[1]
    assert json.loads(bodies[0])["messages"] == everything
    assert (messages, len(messages), [*messages]) == (everything, len(everything), everything)


def test_what_was_said_earlier_is_sent_as_the_very_piece_that_the_store_gave() -> None:
    """It may be half a megabyte: no copy is made of it before all is put together."""
    earlier = spelled([{"role": "user", "content": "long ago"}])
    messages = SpelledMessages((), earlier, [{"role": "user", "content": "?"}])
    pieces = encode_request(new_request("m", []), model="m", messages=messages, ask_usage=True)
    assert [piece for piece in pieces if piece is earlier] == [earlier]


def test_what_people_said_is_not_in_their_repr() -> None:
    messages = SpelledMessages((), b'{"role":"user","content":"my secret"}', ())
    assert messages[0]["content"] == "my secret"
    assert messages[-1:] == [messages[0]]
    assert "secret" not in repr(messages)
