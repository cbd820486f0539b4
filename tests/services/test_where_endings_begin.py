"""Where a stream's last events begin in a batch: plain events before them, and each of them read by itself."""

from __future__ import annotations

import pytest

from streamproxy.services.endings import ENDING_BYTES, ENDING_EVENTS, end_of_event, end_of_text, last_events
from tests.support.http import DONE

TEXT = b'data: {"id":"a","choices":[{"delta":{"content":"say \\"usage\\":{}"}}]}\n\n'
NULL = TEXT.replace(b"]}", b'],"usage":null}')
USAGE = b'data: {"id":"a","choices":[],"usage":{"total_tokens":1}}\n\n'
LONG = TEXT.replace(b"say", b"x" * ENDING_BYTES)


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        (TEXT, b""),
        (TEXT + NULL, b""),
        (TEXT, DONE),
        (NULL, DONE),
        (TEXT + NULL, USAGE),
        (2 * TEXT, USAGE + DONE),
        (TEXT, USAGE + TEXT + DONE),
        (TEXT + USAGE, USAGE + DONE),
        # Too far from the end to be looked for.
        (USAGE + LONG, DONE),
        (b"", DONE),
        (b"", USAGE + DONE),
        (b"", b""),
    ],
)
@pytest.mark.parametrize("before", [b"", TEXT])
def test_the_text_ends_where_the_usage_or_the_end_mark_is(before: bytes, text: bytes, ending: bytes) -> None:
    buffer = before + text + ending
    assert end_of_text(buffer, len(before), len(buffer)) == len(before + text)


def test_the_last_events_are_those_that_may_end_a_stream() -> None:
    assert last_events(5 * TEXT) == (5 - ENDING_EVENTS) * len(TEXT)
    assert last_events(ENDING_EVENTS * TEXT) == last_events(b"") == 0


def test_an_event_ends_with_its_blank_line_or_with_all_there_is() -> None:
    buffer = TEXT + USAGE + b"\n"
    assert end_of_event(buffer, 0, len(buffer)) == len(TEXT)
    assert end_of_event(buffer, len(TEXT), len(buffer)) == len(TEXT + USAGE)
    assert end_of_event(buffer, len(TEXT + USAGE), len(buffer)) == len(buffer)
