"""What the encoder writes is one event, and the clean test lets nothing else pass."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamproxy.wire.sse import DONE, HEARTBEAT, Decoder, Event, encode, frame, is_clean

texts = st.lists(
    st.sampled_from(["\n", "\r", "data: ", "id: 1", "event: admin", ": ", "\u2028", "你"]) | st.text()
).map("".join)


@given(texts)
@example("hi\n\nevent: admin\ndata: pwn")
@example("\r\n\r\n\r")
@example("")
def test_any_text_comes_back_as_one_event(text: str) -> None:
    """Line ends become LF, as the format has it; no text adds an event, a name, an id."""
    decoder = Decoder()
    assert decoder.feed(encode(text)) == [Event(re.sub(r"\r\n|\r", "\n", text))]
    assert not decoder.pending


@given(texts)
def test_event_and_id_come_back(text: str) -> None:
    (event,) = Decoder().feed(encode(text, event="error", id="01JC.17"))
    assert (event.event, event.id) == ("error", "01JC.17")


BAD_VALUES = ["", "a\nb", "a\rb", "a\0b", "a b", "a: b", "a\n", "\u2028", "é", "x" * 200]


@pytest.mark.parametrize("value", BAD_VALUES)
def test_an_event_name_or_id_that_could_break_out_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="event"):
        encode("x", event=value)
    with pytest.raises(ValueError, match="id"):
        encode("x", id=value)


def test_a_lone_surrogate_does_not_raise() -> None:
    assert encode("\ud800") == b"data: ?\n\n"


def test_the_fixed_frames_are_what_clients_tolerate() -> None:
    assert HEARTBEAT == b":\n"
    assert DONE == b"data: [DONE]\n\n"
    assert Decoder().feed(HEARTBEAT + DONE) == [Event("[DONE]")]


@pytest.mark.parametrize(
    "frames", [DONE, frame(b"{}"), frame(b"{}") * 3 + DONE, frame('{"a":"你"}'.encode()), b"data:  \n\n"]
)
def test_whole_events_of_one_data_line_are_clean(frames: bytes) -> None:
    assert is_clean(frames)


@pytest.mark.parametrize(
    "frames",
    [
        b"",
        b"\n\n",
        HEARTBEAT,
        b"data: {}",
        b"data: {}\n",
        b"data: {}\n\n\n",
        b"\ndata: {}\n\n",
        b"data:{}\n\n",
        b"data: \n\n",
        b"data: {}\n\ndata: \n\n",
        b"data: {}\ndata: {}\n\n",
        b"data: {}\r\n\r\n",
        b"data: {}\r\n\n",
        b"data: {}\rdata: {}\n\n",
        b"data: {}\n\n\ndata: {}\n\n",
        b": c\ndata: {}\n\n",
        b"data: {}\n: c\n\n",
        b"data: {}\n\n:\n\ndata: {}\n\n",
        b"id: 1\ndata: {}\n\n",
        b"data: {}\nevent: x\n\n",
        b"data: {}\n\nretry: 1\n\n",
        b"data: {}\n\nd",
        b"\xef\xbb\xbfdata: {}\n\n",
        b"data: \xff\n\n",
        b"data: \xed\xa0\x80\n\n",
        b"data: {}\n\ndata: \xe4\xbd\n\n",
    ],
)
def test_everything_else_is_not(frames: bytes) -> None:
    assert not is_clean(frames)


fragments = st.sampled_from([b"data: {}\n\n", b"data: ", b"\n", b"\n\n", b"x", "你".encode()]) | st.sampled_from(
    [b"data: {}\n\n", b"data:", b" ", b":", b"\r", b"id: 1\n", b"\xff", b"\xef\xbb\xbf"]
)


@given(st.lists(fragments, max_size=8).map(b"".join))
def test_clean_means_that_decoding_and_encoding_give_the_same_bytes(frames: bytes) -> None:
    events = Decoder().feed(frames)
    same = b"".join(frame(event.data.encode()) for event in events) == frames
    assert is_clean(frames) == (bool(events) and all(event.data for event in events) and same)
