"""Our decoder against the reference, whole and cut anywhere, and the relay on top of it against the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random

from streamproxy.errors import UpstreamError
from streamproxy.services.completion import Identity, TakenIds
from streamproxy.services.relay import Relay
from streamproxy.wire.sse import DONE, Decoder, Event
from tests.fuzz.report import Report
from tests.fuzz.sse_inputs import cut, stream
from tests.fuzz.sse_reference import interpret

IDENTITY = Identity("chatcmpl-x", "gpt-4o-mini", 0)
# The relay is ten times slower than the decoder: it takes part in some.
RELAY_EVERY = 16


def run(report: Report) -> None:
    """Streams until the report has enough; AssertionError with the bytes at the first that is read differently."""
    random = report.random
    for number in report.inputs():
        whole = stream(random)
        wanted = [(e.data, e.type, e.last_event_id, e.reconnection_time) for e in interpret(whole)]
        for pieces in ([whole], cut(random, whole)):
            found = _decoded(pieces)
            assert found == wanted, f"{list(pieces)!r}: {found!r} instead of {wanted!r}"
        if number % RELAY_EVERY == 0:
            _relayed(random, whole)


def _decoded(pieces: Iterable[bytes]) -> list[tuple[str, str, str, int | None]]:
    decoder = Decoder()
    events: list[Event] = [event for piece in pieces for event in decoder.feed(piece)]
    return [(e.data, e.event, e.id or "", e.retry) for e in events]


def _relayed(random: Random, whole: bytes) -> None:
    """Whatever comes in, what goes out is frames of one JSON object, however it was cut."""
    out = [_frames([whole]), _frames(cut(random, whole))]
    for frames in out:
        for frame in frames.split(b"\n\n")[:-1]:
            assert frame.startswith(b"data: "), f"{whole!r} became {frame!r}"
            assert frame == DONE[:-2] or isinstance(json.loads(frame[6:]), dict), f"{whole!r} became {frame!r}"
        assert frames.count(DONE) <= 1, f"{whole!r} ended twice"
    assert out[0] == out[1], f"{whole!r} cut otherwise became {out[1]!r} instead of {out[0]!r}"


def _frames(pieces: Iterable[bytes]) -> bytes:
    relay = Relay(IDENTITY, include_usage=False, taken_ids=TakenIds())
    sent = bytearray()
    try:
        for piece in pieces:
            if piece and not relay.over:
                sent += relay.feed(piece)
    except UpstreamError:
        return bytes(sent)
    return bytes(sent)
