"""The decoder follows the WHATWG parsing rules, wherever the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproxy.errors import UpstreamError
from streamproxy.wire.sse import MAX_EVENT_SIZE, Decoder, Event, only_data

# The examples of https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
# and the corners that upstreams turned out to use.
STREAMS: dict[str, tuple[bytes, list[Event]]] = {
    "spec: three data lines are one event": (
        b"data: YHOO\ndata: +2\ndata: 10\n\n",
        [Event("YHOO\n+2\n10")],
    ),
    "spec: comment, ids, and an id that is taken back": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [Event("first event", id="1"), Event("second event", id=""), Event(" third event", id="")],
    ),
    "spec: data without colon, and an event that is never finished": (
        b"data\n\ndata\ndata\n\ndata:",
        [Event(""), Event("\n")],
    ),
    "spec: one space after the colon is no data": (
        b"data:test\n\ndata: test\n\n",
        [Event("test"), Event("test")],
    ),
    "CRLF": (b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", [Event("a\nb"), Event("c")]),
    "CR": (b"data: a\rdata: b\r\rdata: c\r\r", [Event("a\nb"), Event("c")]),
    "line ends mixed": (b"data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\n", [Event("a\nb\nc"), Event("d")]),
    "BOM": (b"\xef\xbb\xbfdata: a\n\n", [Event("a")]),
    "only the first BOM is one": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [Event("b")]),
    "half a BOM is garbage": (b"\xef\xbbdata: a\n\ndata: b\n\n", [Event("b")]),
    "UTF-8 of one to four bytes": ("data: aß你😀\n\n".encode(), [Event("aß你😀")]),
    "invalid UTF-8 is replaced": (b"data: a\xff\xe4\xbdb\xed\xa0\x80\n\n", [Event("a\ufffd\ufffdb\ufffd\ufffd\ufffd")]),
    "what is no line end stays": (
        "data: a\u2028b\u0085c\x0bd\x0ce\x1cf\n\n".encode(),
        [Event("a\u2028b\u0085c\vd\fe\x1cf")],
    ),
    "NUL in data": (b"data: a\0b\n\n", [Event("a\0b")]),
    "event name": (b"event: ping\ndata: {}\n\ndata: x\n\n", [Event("{}", "ping"), Event("x")]),
    "an event name without data is forgotten": (b"event: ping\n\ndata: x\n\n", [Event("x")]),
    "an empty event name is message": (b"event: ping\nevent:\ndata: x\n\n", [Event("x")]),
    "an id without data is kept": (b"id: 7\n\ndata: x\n\n", [Event("x", id="7")]),
    "an id with NUL is ignored": (b"id: 7\nid: 8\0\ndata: x\n\n", [Event("x", id="7")]),
    "retry": (b"retry: 3000\n\ndata: x\n\n", [Event("x", retry=3000)]),
    "retry of anything but digits is ignored": (
        b"retry: 3 s\nretry: -1\nretry:\nretry: \xd9\xa3\nretry: " + b"9" * 5000 + b"\ndata: x\n\n",
        [Event("x")],
    ),
    "unknown fields and comments": (b"foo: bar\n:\n: data: no\nDATA: no\n data: no\ndata: x\n\n", [Event("x")]),
    "blank lines": (b"\n\n\r\n\rdata: x\n\n\n\n", [Event("x")]),
    "colons in data": (b"data: a: b:c\ndata::\n\n", [Event("a: b:c\n:")]),
    "empty data": (b"data:\n\ndata: \n\n", [Event(""), Event("")]),
}
CASES = pytest.mark.parametrize(("stream", "events"), STREAMS.values(), ids=STREAMS.keys())


def decoded(*chunks: bytes) -> list[Event]:
    decoder = Decoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


@CASES
def test_a_whole_stream_gives_its_events(stream: bytes, events: list[Event]) -> None:
    assert decoded(stream) == events


@CASES
def test_a_cut_at_any_position_changes_nothing(stream: bytes, events: list[Event]) -> None:
    for cut in range(len(stream) + 1):
        assert decoded(stream[:cut], stream[cut:]) == events, cut


@CASES
def test_one_byte_at_a_time_changes_nothing(stream: bytes, events: list[Event]) -> None:
    """Empty chunks in between do not either."""
    assert decoded(*(chunk for byte in stream for chunk in (bytes([byte]), b""))) == events


pieces = st.sampled_from(
    [b"data: ", b"data:", b"data", b"\n", b"\r", b"\r\n", b"\n\n", b"x", b" ", b":", b"id: 1", b"event: e", b"retry: 5"]
) | st.sampled_from([b"\xef\xbb\xbf", b"\xef", b"\xff", "你😀".encode(), b"\0"])
streams = st.lists(pieces | st.binary(max_size=4), max_size=30).map(b"".join)


@given(streams, st.lists(st.integers(0, 120), max_size=8))
def test_no_set_of_cuts_changes_the_events_of_any_bytes(stream: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(stream)]
    whole, cut = Decoder(), Decoder()
    events = whole.feed(stream)
    assert [e for a, b in pairwise(bounds) for e in cut.feed(stream[a:b])] == events
    assert cut.pending == whole.pending


@given(streams, st.integers(0, 20))
def test_the_size_cap_does_not_depend_on_the_cuts(stream: bytes, cap: int) -> None:
    """Whole or byte by byte, the same events come before the cap strikes, and it strikes the same event."""

    def outcome(*chunks: bytes) -> tuple[list[Event], str]:
        decoder, events = Decoder(cap), list[Event]()
        try:
            for chunk in (*chunks, b""):
                events += decoder.feed(chunk)
        except UpstreamError as error:
            return events, error.code
        return events, ""

    assert outcome(stream) == outcome(*(bytes([byte]) for byte in stream))


@pytest.mark.parametrize(
    ("stream", "pending"),
    [
        (b"", False),
        (b"data: x\n\n", False),
        (b"data: x\r\n\r", False),
        (b": comment\n", False),
        (b"\xef\xbb\xbf", False),
        (b"\xef\xbb", True),
        (b"data: x\n\nd", True),
        (b"data: x\n", True),
        (b"event: x\n", True),
        (b"id: 1\n", True),
        (b"data", True),
    ],
)
def test_pending_tells_a_stream_that_was_cut_in_mid_event(stream: bytes, pending: bool) -> None:
    decoder = Decoder()
    decoder.feed(stream)
    assert decoder.pending is pending


def test_an_event_of_exactly_the_cap_passes() -> None:
    assert Decoder(10).feed(b"data: 1234\n\ndata\ndata:x\n\n") == [Event("1234"), Event("\nx")]


@pytest.mark.parametrize(
    "stream", [b"data: 12345\n\n", b"data: 12345", b"data:1\ndata:2\n", b": a long comment", b"event: abc\nx"]
)
def test_a_line_or_event_over_the_cap_raises(stream: bytes) -> None:
    decoder = Decoder(10)
    with pytest.raises(UpstreamError, match="more than 10 bytes") as raised:
        decoder.feed(stream)
    assert raised.value.code == "upstream_event_too_large"
    with pytest.raises(UpstreamError):
        decoder.feed(b"\n\ndata: x\n\n")


def test_events_before_the_one_over_the_cap_are_not_lost() -> None:
    decoder = Decoder(10)
    assert decoder.feed(b"data: x\n\ndata: 123456789\n\ndata: y\n\n") == [Event("x")]
    assert decoder.pending
    with pytest.raises(UpstreamError):
        decoder.feed(b"")


def test_a_line_without_end_raises_as_soon_as_it_is_over_the_cap() -> None:
    decoder = Decoder(1 << 20)
    for _ in range(16):
        assert decoder.feed(b"d" * (1 << 16)) == []
    with pytest.raises(UpstreamError):
        decoder.feed(b"d")


def test_comments_in_an_unfinished_event_do_not_add_up() -> None:
    """An upstream may send heartbeats for hours inside an event that it has begun."""
    decoder = Decoder(20)
    assert decoder.feed(b"data: x\n" + b": beat\n" * 100) == []
    assert decoder.feed(b"\n") == [Event("x")]


LONGEST = MAX_EVENT_SIZE - len(b"data: ")


@pytest.mark.parametrize(
    "data", [b"", b" ", b"x", b" x ", b"[DONE]", b"data: x", "你\u2028\0".encode(), b"\xef\xbb\xbf", LONGEST * b"x"]
)
def test_the_data_of_an_event_of_one_line_is_what_the_decoder_finds(data: bytes) -> None:
    event = b"data: " + data + b"\n\n"
    assert only_data(event) == data
    assert Decoder().feed(event) == [Event(data.decode())]


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b"\n\n",
        b"data: ",
        b"data: x",
        b"data: x\n",
        b"data: x\ny",
        b"data:x\n\n",
        b"xdata: x\n\n",
        b"data: x\n\n\n",
        b"data: x\ndata: y\n\n",
        b"data: x\n\ndata: y\n\n",
        b"data: x\ry\n\n",
        b"data: x\r\n\r\n",
        b"data: \xff\n\n",
        b"\xef\xbb\xbfdata: x\n\n",
        b"data: " + (LONGEST + 1) * b"x" + b"\n\n",
    ],
)
def test_any_other_event_is_for_the_decoder(event: bytes) -> None:
    assert only_data(event) is None


def test_a_mark_of_byte_order_is_none_where_events_have_begun_elsewhere() -> None:
    decoder = Decoder(begun=True)
    assert not decoder.pending
    assert decoder.feed(b"\xef\xbb\xbfdata: a\n\ndata: b\n\n") == [Event("b")]
