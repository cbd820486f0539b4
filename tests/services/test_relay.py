"""The relay against its oracle: whatever comes, however it is cut, the client's view is that of reading every event."""

from __future__ import annotations

import inspect
import json
import sys
import types
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproxy.services import completion, plainevents, relay
from streamproxy.services.endings import ENDING_EVENTS
from streamproxy.services.textevents import BYTES_A_TEXT
from tests.services.slowrelay import SlowRelay
from tests.services.upstreambytes import Stream, stream_of, talk_of
from tests.support import relaying
from tests.support.http import DONE
from tests.support.relaying import assert_family_a, cut_at, seen

SEEDS = st.integers(0, 2**32)
# So few are taken for many here: what is known of texts between other events is asked for in short streams, too.
FEW_BYTES = 200
TAKEN = ("chatcmpl-taken",)


def check(stream: Stream, *, include_usage: bool, taken: tuple[str, ...] = TAKEN) -> None:
    data, cuts = stream
    slow = SlowRelay(include_usage=include_usage, taken=frozenset(taken))
    slow.feed(data)
    view = seen(cut_at(data, cuts), include_usage=include_usage, taken=taken)
    assert view.error == slow.error
    values = view.values
    if slow.error is None:
        assert values == slow.shown + slow.ending()
    else:
        assert values[:-1] == slow.shown
        assert values[-1]["error"]["code"] == slow.error
    assert view.frames[-1] == DONE
    assert view.frames.count(DONE) == 1
    assert view.text == slow.text
    assert view.finish_reason == slow.finish_reason
    assert (view.usage[:2] if view.usage else None) == slow.usage
    assert_family_a(view, include_usage=include_usage)


def check_all(corpus: list[Stream]) -> None:
    for stream in corpus:
        check(stream, include_usage=True)


@given(seed=SEEDS)
@settings(max_examples=600)
def test_the_view_is_that_of_the_slow_reference(seed: int) -> None:
    for include_usage in (True, False):
        check(stream_of(seed), include_usage=include_usage)


@given(seed=SEEDS)
@settings(max_examples=300)
def test_also_where_most_events_say_text(seed: int) -> None:
    with patch.object(relay, "MANY_BYTES", FEW_BYTES):
        check(talk_of(seed), include_usage=True)


@given(seed=SEEDS)
@settings(max_examples=200)
def test_also_where_another_completion_had_the_id(seed: int) -> None:
    check(stream_of(seed), include_usage=True, taken=("chatcmpl-a",))


@given(seed=SEEDS)
@settings(max_examples=60)
def test_also_byte_by_byte(seed: int) -> None:
    data, _ = stream_of(seed)
    check((data, list(range(len(data)))), include_usage=True)


def chunk(**fields: Any) -> bytes:
    """A plain event."""
    base = {"id": "chatcmpl-a", "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}
    return b"data: " + json.dumps(base | fields, separators=(",", ":")).encode() + b"\n\n"


def text_event(text: str, **fields: Any) -> bytes:
    """An event that says text, and so may be known without reading it."""
    return chunk(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None}], **fields)


CALL = [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "call_1"}]}, "finish_reason": None}]
CALL_FIRST = b"data: " + json.dumps({"choices": CALL, "id": "chatcmpl-a"}, separators=(",", ":")).encode() + b"\n\n"
CHOICES_FIRST = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}],"id":"%b"}\n\n'
BROKEN_LINE = chunk().replace(b',"delta"', b',\r"delta"')
# What is too rare to wait for.
HANDMADE: dict[str, Stream] = {
    "a blank line too many at the end of a batch": (chunk() + b"\n" + chunk(), [len(chunk()) + 1]),
    "a blank line too many behind a marked event": (
        chunk() + chunk(usage=None) + b"\n" + chunk(),
        [2 * len(chunk()) + 14],
    ),
    "blank lines only": (b"\n\n\n" + chunk() + b"\n\n\n", [1, 2, 3]),
    "a data line in the decoder, the next one in plain bytes": (
        chunk() + b"data: 1\r" + chunk(),
        [len(chunk()), len(chunk()) + 8],
    ),
    "a data line without its end, the next one in plain bytes": (
        chunk() + b"data: 1\n" + chunk(),
        [len(chunk()), len(chunk()) + 8],
    ),
    "a plain event behind the end": (chunk() + DONE + chunk(), [len(chunk() + DONE)]),
    "a carriage return in a plain event": (chunk() + BROKEN_LINE, [len(chunk())]),
    "a mark of byte order behind the first event": (
        chunk() + b"\xef\xbb\xbf" + chunk(id="b") + chunk(usage=None),
        [len(chunk())],
    ),
    "no UTF-8 in a plain event": (chunk() + chunk().replace(b"x", b"\xff"), [len(chunk())]),
    "choices before ids, which differ": (CHOICES_FIRST % b"chatcmpl-a" + CHOICES_FIRST % b"b", [10]),
    "a call's id before the completion's": (
        CALL_FIRST + chunk(id="b", choices=CALL) + chunk(),
        [len(CALL_FIRST), len(CALL_FIRST + chunk(id="b", choices=CALL))],
    ),
}


@pytest.mark.parametrize("stream", HANDMADE.values(), ids=HANDMADE.keys())
def test_the_view_of_rare_streams_is_that_of_the_slow_reference(stream: Stream) -> None:
    data, cuts = stream
    check(stream, include_usage=True)
    for cut in range(len(data)):
        check((data, [*cuts, cut]), include_usage=True)


# Each is a condition of the fast path, or a step of it, taken away. A view must change for every one of them.
_CHOICES = "and any(frames.count(choices) == events for choices in _CHOICES)"
_MARKS = """(b'"error"', b'"usage"', b"data: [DONE]")"""
MUTANTS = {
    "any id": (plainevents, "frames.count(self.id) == events", "True"),
    "no id yet": (plainevents, "if self.id is None:\n            return False\n        events", "events"),
    "any choices": (plainevents, _CHOICES, ""),
    "choices of any type": (plainevents, _CHOICES, """and frames.count(b'"choices"') == events"""),
    "any beginning": (plainevents, 'and frames.startswith(b"data: {")', ""),
    "anything between events": (plainevents, 'and frames.count(b"}\\n\\ndata: {") == events - 1', ""),
    "any end": (plainevents, 'and frames.endswith(b"}\\n\\n")\n            and sse', "and sse"),
    "not clean": (plainevents, "and sse.is_clean(frames)", ""),
    "errors unread": (plainevents, _MARKS, """(b'"usage"', b'"usage"', b"data: [DONE]")"""),
    "usage unread": (plainevents, _MARKS, """(b'"error"', b'"error"', b"data: [DONE]")"""),
    "alike: any beginning": (
        plainevents,
        "frames.startswith(self.beginning)",
        "self.id is not None and frames.startswith(self.beginning[:-12])",
    ),
    "alike: any end": (plainevents, 'and frames[-3:] == b"}\\n\\n"\n            # An', "# An"),
    "alike: more than one line": (
        plainevents,
        "and 2 * frames.count(self._seam) + 2 == frames.count(b",
        "and frames.count(b",
    ),
    "alike: errors unread": (plainevents, """and frames.find(b'"error"', start) < 0""", ""),
    "alike: usage unread": (plainevents, """and (frames.find(b'"usage"', start) < 0 or _no_usage(frames))""", ""),
    "alike: any usage": (plainevents, "or _no_usage(frames)", "or True"),
    "alike: carriage returns": (plainevents, "and _CR not in frames", ""),
    "alike: any bytes": (plainevents, "and (frames.isascii() or sse.is_utf8(frames))", ""),
    "a beginning of any id": (plainevents, "and self.id is not None and self.id in beginning", ""),
    "carriage returns": (relay, " or _CR in batch", ""),
    "decoder left alone": (relay, "if self._pending or _CR", "if _CR"),
    "a mark of byte order anywhere": (relay, "begun=self._begun", ""),
    "alike within an event": (relay, "if self.between:", "if True:"),
    "alike behind a tail": (relay, "self._tail or self._pending)", "self._pending)"),
    "alike in the decoder": (relay, "self._tail or self._pending)", "self._tail)"),
    "known: texts lost": (
        relay,
        "            said.add_texts(texts)\n            said.add(after)",
        "            said.add(after)",
    ),
    "known: what was before lost": (relay, "said.add(before)", ""),
    "known: what was after lost": (relay, "said.add(after)", ""),
    "known: another order": (
        relay,
        "said.add(before)\n            said.add_texts(texts)",
        "said.add_texts(texts)\n            said.add(before)",
    ),
    "known: less than there is": (relay, "self.size = len(before) + len(plain) - ", "self.size = len(before) - "),
    "known: foretold as it was": (
        relay,
        "            said = Transcript()\n            said.add_texts(self.texts)\n",
        "            said = Transcript()\n",
    ),
    "tail lost": (relay, "self._tail = buffer[end:]", 'self._tail = b""'),
    "tail sent twice": (relay, "buffer = self._tail + batch if self._tail else batch", "buffer = batch"),
    "after the end": (relay, "while start < end and not self.over:", "while start < end:"),
    "input after the end": (relay, 'if self.over:\n            return b""\n        if self._tr', "if self._tr"),
    "alike after the end": (relay, "not (self.over or self._tail", "not (self._tail"),
    "the first id, whosever": (completion, "if msgspec.json.decode(", "if True or msgspec.json.decode("),
}


@pytest.fixture(scope="module")
def corpus() -> list[Stream]:
    """The same streams every time, so that a mutant that lives is no accident."""
    return [*HANDMADE.values(), *(stream_of(seed) for seed in range(3000)), *(talk_of(seed) for seed in range(300))]


def _mutated(module: types.ModuleType, old: str, new: str) -> Any:
    """The relay with *new* in place of *old* in one of the modules it consists of."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{module.__name__} has changed: {old!r} is in it {source.count(old)} times"
    mutant = types.ModuleType("mutant")
    sys.modules["mutant"] = mutant
    exec(compile(source.replace(old, new), "mutant", "exec"), mutant.__dict__)  # noqa: S102 - our own source
    return mutant


@pytest.mark.parametrize(("module", "old", "new"), MUTANTS.values(), ids=MUTANTS.keys())
def test_no_condition_of_the_fast_path_can_be_left_out(
    corpus: list[Stream], monkeypatch: pytest.MonkeyPatch, module: types.ModuleType, old: str, new: str
) -> None:
    """The property above is able to fail: it catches each of these mutants."""
    mutant = _mutated(module, old, new)
    if module is relay:
        mutant.MANY_BYTES = FEW_BYTES
        monkeypatch.setattr(relaying, "Relay", mutant.Relay)
    else:
        name = {plainevents: "PlainEvents", completion: "Completion"}[module]
        monkeypatch.setattr(relay, name, getattr(mutant, name))
    with pytest.raises((AssertionError, TypeError, ValueError)):
        check_all(corpus)


def test_the_corpus_leaves_the_real_relay_alone(corpus: list[Stream]) -> None:
    check_all(corpus)


def test_what_may_be_text_is_all_but_what_all_events_begin_with_or_have_around_it() -> None:
    """A token budget lets events pass unread by that, and so much of a batch that is not alike is kept at most."""
    identity = completion.Identity("chatcmpl-x", "m", 0)
    running = relay.Relay(identity, include_usage=True, taken_ids=completion.TakenIds())
    spoken = text_event("x" * 1000)
    beginning = len(b'data: {"id":"chatcmpl-a","choices":[')
    running.feed(spoken)
    assert running.size == len(spoken)
    for batch, may_be_text in (
        (3 * spoken, 3 * len(spoken) - beginning),
        # By now it is known what stands around a text.
        (spoken, 1000 + BYTES_A_TEXT),
        (3 * spoken, 3 * (1000 + BYTES_A_TEXT)),
    ):
        assert running.feed(batch) == batch
        assert running.size == may_be_text
    many = 30 * spoken
    marked = chunk(usage={"prompt_tokens": 1, "completion_tokens": 1})
    shown = running.feed(many + marked)
    # The last ones are read: they might be those that end a stream.
    known = 31 - ENDING_EVENTS
    assert running.size == known * (1000 + BYTES_A_TEXT) + len(shown) - known * len(spoken)
    running.feed(spoken + marked)
    assert running.size == len(spoken) + len(shown) - len(many)
