"""A chat request is checked where we rely on it and passed on untouched everywhere else."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamproxy.errors import BadRequestError
from streamproxy.wire.body import decoded
from streamproxy.wire.chat import MAX_MESSAGES, ChatRequest, encode_request, parse_request
from streamproxy.wire.chat.request import _checked, _Right

USER = {"role": "user", "content": "Hi"}
SMALLEST: dict[str, Any] = {"model": "m", "messages": [USER]}


def parsed(**fields: Any) -> ChatRequest:
    return parse_request(json.dumps({**SMALLEST, **fields}).encode())


def with_message(**fields: Any) -> dict[str, Any]:
    return {"messages": [USER, {**USER, **fields}]}


def test_the_smallest_request_has_defaults_for_everything_else() -> None:
    assert parsed() == ChatRequest(
        model="m", messages=(USER,), stream=False, include_usage=False, reply_tokens=None, fields=SMALLEST
    )


def test_null_is_as_good_as_absent() -> None:
    names = ("stream", "stream_options", "n", "max_tokens", "max_completion_tokens")
    request = parsed(**dict.fromkeys(names), **with_message(content=None, tool_calls=None))
    assert (request.stream, request.include_usage, request.reply_tokens) == (False, False, None)


def test_stream_and_usage_are_read() -> None:
    request = parsed(stream=True, stream_options={"include_usage": True})
    assert request.stream
    assert request.include_usage


def test_stream_options_without_stream_are_kept() -> None:
    assert parsed(stream_options={"x": 1}).fields["stream_options"] == {"x": 1}


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
    ],
)
def test_max_completion_tokens_goes_before_max_tokens(fields: dict[str, Any], tokens: int) -> None:
    assert parsed(**fields).reply_tokens == tokens


def test_messages_of_every_documented_kind_pass() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "你😀"}, {"type": "image_url", "image_url": {"url": "x"}}],
        },
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": ""},
        {"role": "assistant", "content": None, "refusal": "No.", "field nobody knows": [1, {}]},
    ]
    assert list(parsed(messages=messages).messages) == messages


BAD_VALUES: dict[str, list[Any]] = {
    "model": [None, 1, [], "", "x" * 257, "a\nb", "a\0", "a\x7f", "a\u0085"],
    "messages": [None, {}, "x", [], [USER] * (MAX_MESSAGES + 1)],
    "messages[1]": [None, "x", 1, [], [USER]],
    "messages[1].role": [None, "", 1, ["user"]],
    "messages[1].content": [1, True, {}, ["x"], [[]], [None]],
    "messages[1].tool_calls": ["x", {}, 1, [1], [None]],
    "stream": [0, 1, "true", [], {}],
    "stream_options": [True, "x", []],
    "stream_options.include_usage": [1, "true", []],
    "n": [0, -1, 129, True, 1.0, "1", []],
    "max_tokens": [0, -1, True, 1.5, "1", 10**9 + 1, 10**30],
    "max_completion_tokens": [0, -1, False, 1.5, "1", {}],
}


def fields_with(param: str, value: Any) -> dict[str, Any]:
    container, _, name = param.rpartition(".")
    if container == "messages[1]":
        return with_message(**{name: value})
    if container:
        return {container: {name: value}}
    return {"messages": [USER, value]} if name == "messages[1]" else {name: value}


@pytest.mark.parametrize(
    ("param", "value"), [(param, value) for param, values in BAD_VALUES.items() for value in values]
)
def test_a_bad_value_is_refused_and_its_field_named(param: str, value: Any) -> None:
    with pytest.raises(BadRequestError) as raised:
        parsed(**fields_with(param, value))
    error = raised.value
    assert (error.status, error.param) == (400, param)
    assert param in error.message


@pytest.mark.parametrize("name", ["model", "messages"])
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(BadRequestError, match=f"{name} is required") as raised:
        parse_request(json.dumps({k: v for k, v in SMALLEST.items() if k != name}).encode())
    assert raised.value.param == name


BAD_BODIES = {
    "empty": b"",
    "text": b"hello",
    "form": b"model=m&messages=x",
    "null": b"null",
    "array": b"[]",
    "string": b'"x"',
    "cut": b'{"model":"m","messages":[{"role"',
    "trailing": b"{} {}",
    "BOM": b"\xef\xbb\xbf{}",
    "UTF-16": json.dumps(SMALLEST).encode("utf-16"),
    "latin-1": '{"model":"é"}'.encode("latin-1"),
    "NaN": b'{"temperature":NaN}',
    "Infinity": b'{"temperature":-Infinity}',
    "number out of range": b'{"temperature":1e999}',
    "integer of 10,000 digits": b'{"seed":' + b"1" * 10_000 + b"}",
    "lone surrogate": b'{"messages":[{"role":"user","content":"\\ud800"}]}',
    "lone low surrogate": b'{"user":"\\udc00 x"}',
    "lone surrogate in a name": b'{"\\ud83d":1}',
    "surrogate as bytes": b'{"user":"\xed\xa0\x80"}',
    "10,000 arrays": b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10,000 arrays without end": b"[" * 10_000,
    "10,000 objects": b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError, match="The body ") as raised:
        parse_request(body)
    assert (raised.value.status, raised.value.param) == (400, None)


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"x": value}
    return value


def test_64_levels_pass_and_65_do_not() -> None:
    """The body's own object is the first level."""
    assert parsed(metadata=nested(63)).fields["metadata"] == nested(63)
    with pytest.raises(BadRequestError, match="nested deeper than 64 levels"):
        parsed(metadata=nested(64))


def test_brackets_in_a_text_are_no_levels() -> None:
    assert parsed(messages=[{"role": "user", "content": "[" * 10_000}]).stream is False


def test_as_many_messages_as_allowed_pass() -> None:
    assert len(parsed(messages=[USER] * MAX_MESSAGES).messages) == MAX_MESSAGES


def encoded(request: ChatRequest, *, ask_usage: bool = True) -> dict[str, Any]:
    body = encode_request(
        request, model="provider-m", messages=[{"role": "system", "content": "S"}], ask_usage=ask_usage
    )
    decoded: dict[str, Any] = json.loads(b"".join(body))
    return decoded


def test_the_upstream_gets_every_field_but_model_and_messages_as_received() -> None:
    extra = {"temperature": 0.1, "seed": 2**64 + 1, "tools": [{"x": None}], "nobody knows": {"a": [1.0, "你"]}}
    assert encoded(parsed(**extra)) == {
        "model": "provider-m",
        "messages": [{"role": "system", "content": "S"}],
        **extra,
    }


@pytest.mark.parametrize("options", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False}}])
def test_a_stream_is_always_asked_for_its_usage(options: dict[str, Any]) -> None:
    assert encoded(parsed(stream=True, **options))["stream_options"] == {"include_usage": True}


def test_other_stream_options_stay() -> None:
    request = parsed(stream=True, stream_options={"include_obfuscation": False})
    assert encoded(request)["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert encoded(request, ask_usage=False)["stream_options"] == {"include_obfuscation": False}


def test_a_call_that_does_not_stream_is_not_given_stream_options() -> None:
    """OpenAI refuses them there."""
    assert "stream_options" not in encoded(parsed())


def test_encoding_leaves_the_request_as_it_was() -> None:
    request = parsed(stream=True, stream_options={"x": 1})
    encoded(request)
    assert request.fields == {**SMALLEST, "stream": True, "stream_options": {"x": 1}}


@given(st.binary())
def test_arbitrary_bytes_are_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        parse_request(body)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "n", "max_tokens", "max_completion_tokens", "tools", "x"]
)
messages = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "name"]), st.just("user") | anything, max_size=4)
    | anything,
    max_size=3,
)
nearly_requests = st.builds(
    lambda fields, messages: {**SMALLEST, **fields, **messages},
    st.dictionaries(names, anything, max_size=4),
    st.just({}) | st.fixed_dictionaries({"messages": messages}),
)


@given(anything | nearly_requests)
def test_arbitrary_json_is_a_bad_request_or_can_be_sent_on(value: Any) -> None:
    """No other exception, and nothing that passes changes on its way to the upstream."""
    try:
        request = parse_request(json.dumps(value).encode())
    except BadRequestError:
        return
    body = encode_request(request, model=request.model, messages=request.messages, ask_usage=False)
    assert json.loads(b"".join(body)) == value


@given(nearly_requests)
@example({**SMALLEST, "n": 1.0})
@example({**SMALLEST, "stream_options": {"include_usage": None, "x": 1}})
@example({**SMALLEST, "messages": [{"role": "user", "content": [], "tool_calls": []}]})
@example({**SMALLEST, "model": "\u00a0" * 256})
def test_what_is_right_at_a_glance_is_right_field_by_field(value: Any) -> None:
    """The two ways to read a request never differ in what they read, nor in what they refuse."""
    body = json.dumps(value).encode()
    try:
        fields = decoded(body)
    except BadRequestError:
        return
    try:
        request = _checked(fields)
    except BadRequestError as refusal:
        with pytest.raises(BadRequestError, match=re.escape(refusal.message)):
            parse_request(body)
    else:
        assert parse_request(body) == request
        # Nothing but the way through msgspec makes it fast.
        msgspec.convert(fields, _Right)
