"""What counts as one more event that only says text; every condition of it is missed when it is left out."""

from __future__ import annotations

import inspect
import sys
import types

import pytest

from streamproxy.services import textevents
from streamproxy.services.textevents import BYTES_A_TEXT, LONGEST_EVENT, TextEvents

BEGINNING = b'data: {"id":"a","choices":['
EVENT = BEGINNING + b'{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
OPENING, CLOSING = EVENT.split(b"%b")


def said(*texts: bytes) -> bytes:
    return b"".join(EVENT % text for text in texts)


# By what is fed: what it is known to say.
FRAMES: dict[bytes, list[bytes] | None] = {
    said(b"Hello"): [b"Hello"],
    said(b"\\n \\\\ \\u00e9"): [b"\\n \\\\ \\u00e9"],
    said("你好".encode()): ["你好".encode()],
    # Alone it is left to who reads every event.
    said(b""): None,
    said(b"one", b"", b"\xc3\xa9"): [b"one", b"", b"\xc3\xa9"],
    # Nothing but an opening and a closing that share their quote.
    OPENING + CLOSING[1:]: None,
    OPENING + CLOSING[1:] + said(b"x"): None,
    said(b"x") + OPENING + CLOSING[1:]: None,
    said(b"x")[1:]: None,
    said(b"x").replace(b'"a"', b'"b"'): None,
    said(b"x").replace(b"null", b'"stop"'): None,
    said(b"x").replace(b"null", b"true"): None,
    said(b"x", b"y").replace(b"null", b"1234", 1): None,
    said(b"x") + said(b"y").replace(b'"a"', b'"b"') + said(b"z"): None,
    said(b"x") + b": alone\n\n" + said(b"y"): None,
}
for bad in (b'x","refusal":"y', b"x\ny", b"x\ry", b"\xff", b"x\\", b'x\\"y'):
    FRAMES |= {said(bad): None, said(b"x", bad, b"y"): None}
# Each half would make a whole of the other.
FRAMES[said(b"\xc3", b"\xa9")] = None

# What nothing is learnt from.
NOTHING = (
    said(b"x").replace(b'"content"', b'"refusal"'),
    said(b"x").replace(b"null", b'"stop"'),
    said(b"x").replace(b'"choices"', b'"usage":{"total_tokens":1},"choices"'),
    said(b"x").replace(b'"delta"', b'"error":{"content":"y"},"delta"').replace(b'"index":0', b'"index":1'),
    said(b"x").replace(b"}]}", b'}],"error":{}}'),
    said(b"x").replace(b'"a"', b'"b"'),
    said(b"x").replace(b"}]}", b"}\n]}"),
    said(b'\\"x'),
    said(b"x").replace(b"]}", b'],"x":"\xff"}'),
    said(b"x").replace(b"]}", b'],"x":"%b"}' % (LONGEST_EVENT * b"y")),
    said(b"A").replace(b'"},', b'","content":"probe"},'),
    said(b"A").replace(b'"},', b'","content":"another"},'),
)


def check(kind: type[TextEvents]) -> None:
    for event in NOTHING:
        events = kind()
        events.study(event, BEGINNING)
        assert events.texts(said(b"x")) is None, event
        assert events.texts(event) is None, event
    events = kind()
    assert events.texts(b"") is events.texts(b"\r") is events.texts(said(b"x")) is None
    events.study(said(b"once"), BEGINNING)
    assert events.saved == len(EVENT) - len(b"%b") - BYTES_A_TEXT
    for frames, texts in FRAMES.items():
        assert events.texts(frames) == texts, frames


def test_events_that_say_text_are_told_from_all_others() -> None:
    check(TextEvents)


def test_the_last_of_several_is_studied_and_what_is_missed_is_studied_ever_more_seldom() -> None:
    several = said(b"x", b"y")
    events = TextEvents()
    for _ in range(4):
        events.study(NOTHING[0], BEGINNING)
    for missed in (5, 6, 7):
        events.study(several, BEGINNING)
        assert events.texts(several) is None, missed
    events.study(several, BEGINNING)
    assert events.texts(several) == [b"x", b"y"]


MUTANTS = {
    "any beginning": ("frames.removeprefix(self._opening)", "frames[len(self._opening) :]"),
    "any end": (".removesuffix(self._closing)", "[: -len(self._closing) or None]"),
    "not studied": ("_around: int = sys.maxsize", "_around: int = 0"),
    "several are one": ("return self._several(frames)", "return None"),
    "a quote in the text": ("if _QUOTE in text:\n            return self._several(frames)\n        ", ""),
    "an empty text": ("not text or ", ""),
    "line feeds": ("_LF in text or _CR in text or text[-1]", "_CR in text or text[-1]"),
    "carriage returns": ("_CR in text or text[-1]", "text[-1]"),
    "an open escape": (" or text[-1] == _ESCAPE", ""),
    "any bytes": (" or not (text.isascii() or sse.is_utf8(text))", ""),
    "several: any seam": ("frames.count(self._seam) != len(events) - 1", "False"),
    "several: a quote": ("_QUOTE in text or _LF", "_LF"),
    "several: line feeds": ("_LF in text or _CR in text or not", "_CR in text or not"),
    "several: carriage returns": ("_CR in text or not", "not"),
    "several: bytes of several": ("(frames.isascii() or sse.is_utf8(frames))", "(text.isascii() or sse.is_utf8(text))"),
    "several: an open escape": ("if _ESCAPE in text and", "if False and"),
    "several: an overlap": ("if min(len(events[0]), len(events[-1])) < first:", "if False:"),
    "study: anything": ("== probe for", "is not False for"),
    "study: one probe": ('("probe", "another")', '("probe",)'),
    "study: another probe": ('("probe", "another")', '("another",)'),
    "study: any bytes": (" or not (event.isascii() or sse.is_utf8(event))", ""),
    "study: any length": ("len(opening) + len(closing) > LONGEST_EVENT or ", ""),
    "study: any beginning": (" or not event.startswith(beginning)", ""),
    "study: more than one line": (""" or event.find(b"\\n") != len(event) - 2""", ""),
}


@pytest.mark.parametrize(("old", "new"), MUTANTS.values(), ids=MUTANTS.keys())
def test_no_condition_can_be_left_out(old: str, new: str) -> None:
    source = inspect.getsource(textevents)
    assert source.count(old) == 1, f"{old!r} is in it {source.count(old)} times"
    mutant = types.ModuleType("mutant")
    sys.modules["mutant"] = mutant
    exec(compile(source.replace(old, new), "mutant", "exec"), mutant.__dict__)  # noqa: S102 - our own source
    with pytest.raises((AssertionError, IndexError, ValueError)):
        check(mutant.TextEvents)
