"""The relay against its oracle: whatever comes, however it is cut, the client's view is that of reading every event."""

from __future__ import annotations

import inspect
import json
import sys
import types
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproxy.services import relay
from tests.services.slowrelay import SlowRelay
from tests.services.upstreambytes import Stream, stream_of
from tests.support import relaying
from tests.support.http import DONE
from tests.support.relaying import assert_family_a, cut_at, seen

SEEDS = st.integers(0, 2**32)
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
@settings(max_examples=600, deadline=None)
def test_the_view_is_that_of_the_slow_reference(seed: int) -> None:
    for include_usage in (True, False):
        check(stream_of(seed), include_usage=include_usage)


@given(seed=SEEDS)
@settings(max_examples=200, deadline=None)
def test_also_where_another_completion_had_the_id(seed: int) -> None:
    check(stream_of(seed), include_usage=True, taken=("chatcmpl-a",))


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_also_byte_by_byte(seed: int) -> None:
    data, _ = stream_of(seed)
    check((data, list(range(len(data)))), include_usage=True)


def chunk(**fields: Any) -> bytes:
    """A plain event."""
    base = {"id": "chatcmpl-a", "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}
    return b"data: " + json.dumps(base | fields, separators=(",", ":")).encode() + b"\n\n"


CALL = [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "call_1"}]}, "finish_reason": None}]
CALL_FIRST = b"data: " + json.dumps({"choices": CALL, "id": "chatcmpl-a"}, separators=(",", ":")).encode() + b"\n\n"
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
MUTANTS = {
    "any id": ("frames.count(self._upstream_id) == events", "True"),
    "no id yet": ("if self._upstream_id is None:\n            return False\n        events", "events"),
    "any choices": (
        """(frames.count(b'"choices":[') == events or frames.count(b'"choices": [') == events)""",
        "True",
    ),
    "choices of any type": (
        """(frames.count(b'"choices":[') == events or frames.count(b'"choices": [') == events)""",
        """frames.count(b'"choices"') == events""",
    ),
    "any beginning": ('frames.startswith(b"data: {")', "True"),
    "anything between events": ('frames.count(b"}\\n\\ndata: {") == events - 1', "True"),
    "any end": ('frames.endswith(b"}\\n\\n")', "True"),
    "not clean": ("and sse.is_clean(frames)", ""),
    "errors unread": ("""(b'"error"', b'"usage"', b"data: [DONE]")""", """(b'"usage"', b"data: [DONE]")"""),
    "usage unread": ("""(b'"error"', b'"usage"', b"data: [DONE]")""", """(b'"error"', b"data: [DONE]")"""),
    "carriage returns": (' or b"\\r" in batch', ""),
    "decoder left alone": ("self._decoder.pending or ", ""),
    "transcript forgotten": ("self._keep(plain)\n", "pass\n"),
    "tail lost": ("self._tail = buffer[end:]", 'self._tail = b""'),
    "tail sent twice": ("buffer = self._tail + batch if self._tail else batch", "buffer = batch"),
    "after the end": ("while start < end and not (self.ended or self.failure):", "while start < end:"),
    "input after the end": (
        'if self.ended or self.failure:\n            return b""\n        if self._tr',
        "if self._tr",
    ),
    "the first id, whosever": ("if msgspec.json.decode(", "if True or msgspec.json.decode("),
}


@pytest.fixture(scope="module")
def corpus() -> list[Stream]:
    """The same streams every time, so that a mutant that lives is no accident."""
    return [*HANDMADE.values(), *(stream_of(seed) for seed in range(3000))]


def _mutated(old: str, new: str) -> Any:
    source = inspect.getsource(relay)
    assert source.count(old) == 1, f"the relay has changed: {old!r} is in it {source.count(old)} times"
    module = types.ModuleType("mutant")
    sys.modules["mutant"] = module
    exec(compile(source.replace(old, new), "mutant", "exec"), module.__dict__)  # noqa: S102 - our own source
    return module


@pytest.mark.parametrize(("old", "new"), MUTANTS.values(), ids=MUTANTS.keys())
def test_no_condition_of_the_fast_path_can_be_left_out(
    corpus: list[Stream], monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    """The property above is able to fail: it catches each of these mutants."""
    module = _mutated(old, new)
    monkeypatch.setattr(relaying, "Relay", module.Relay)
    with pytest.raises((AssertionError, TypeError, ValueError)):
        check_all(corpus)


def test_the_corpus_leaves_the_real_relay_alone(corpus: list[Stream]) -> None:
    check_all(corpus)
