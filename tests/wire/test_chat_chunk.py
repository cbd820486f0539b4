"""The chunks of our own are valid, and usage can be parted from a chunk without touching the rest."""

from __future__ import annotations

import json

import pytest
from openai.types.chat import ChatCompletionChunk

from streamproxy.wire.chat import ReportedUsage, finish_chunk, split_usage, usage_chunk

USAGE = b'{"prompt_tokens": 3,"completion_tokens":4,"total_tokens":7,"new_details":{"x":1.50}}'


def test_the_finish_chunk_is_one_that_openai_knows() -> None:
    data = finish_chunk(id="chatcmpl-1", model="m\n你", created=1700000000, finish_reason="length")
    chunk = ChatCompletionChunk.model_validate_json(data, strict=True)
    assert (chunk.id, chunk.model, chunk.created) == ("chatcmpl-1", "m\n你", 1700000000)
    assert [(c.index, c.finish_reason, c.delta.content) for c in chunk.choices] == [(0, "length", None)]
    assert chunk.usage is None
    assert b"\n" not in data


def test_the_usage_chunk_is_one_that_openai_knows() -> None:
    data = usage_chunk(id="chatcmpl-1", model="m", created=1700000000, prompt_tokens=3, completion_tokens=4)
    chunk = ChatCompletionChunk.model_validate_json(data, strict=True)
    assert chunk.choices == []
    assert chunk.usage is not None
    assert (chunk.usage.prompt_tokens, chunk.usage.completion_tokens, chunk.usage.total_tokens) == (3, 4, 7)
    assert b"\n" not in data


@pytest.mark.parametrize("choices", [b"[]", b"[ ]", b"null"])
def test_a_chunk_of_usage_alone_has_no_rest(choices: bytes) -> None:
    rest, usage = split_usage(b'{"id":"c","choices":' + choices + b',"usage":' + USAGE + b',"x_unknown":1}')
    assert rest is None
    assert usage == b'{"id":"c","choices":[],"usage":' + USAGE + b',"x_unknown":1}'


def test_a_chunk_without_choices_at_all_has_no_rest() -> None:
    assert split_usage(b'{"usage":' + USAGE + b"}") == (None, b'{"usage":' + USAGE + b',"choices":[]}')


def test_usage_in_the_finish_chunk_becomes_a_chunk_of_its_own() -> None:
    """transformers serve sends it there."""
    choices = b'[{"index":0,"delta":{},"finish_reason":"stop","logprob":-0.10,"big":123456789012345678901234567890}]'
    rest, usage = split_usage(
        b'{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","usage":'
        + USAGE
        + b',"choices":'
        + choices
        + b',"timings":1e3}'
    )
    head = b'{"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    assert rest == head + b'"choices":' + choices + b',"timings":1e3}'
    assert usage == head + b'"choices":[],"usage":' + USAGE + b"}"


@pytest.mark.parametrize(
    "data", [b'{"choices":[],"usage":null}', b'{"choices":[]}', b'{"choices":[], "usage" : null }']
)
def test_no_usage_leaves_the_chunk_as_it_came(data: bytes) -> None:
    assert split_usage(data) == (data, None)


def read(text: str) -> ReportedUsage | None:
    return ReportedUsage.read(json.loads(text))


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        ('{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}', ReportedUsage(3, 4, 0)),
        ('{"prompt_tokens":0,"completion_tokens":0}', ReportedUsage(0, 0, 0)),
        (
            '{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}',
            ReportedUsage(3, 4, 2),
        ),
        (
            '{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":9}}',
            ReportedUsage(3, 4, 3),
        ),
        (
            '{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":-1}}',
            ReportedUsage(3, 4, 0),
        ),
        ('{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":[]}', ReportedUsage(3, 4, 0)),
        (
            '{"prompt_tokens":3,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":3}}',
            ReportedUsage(3, 4, 0, 3),
        ),
        (
            '{"prompt_tokens":3,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":5}}',
            ReportedUsage(3, 4, 0, 4),
        ),
        ('{"prompt_tokens":1000000000,"completion_tokens":1}', ReportedUsage(10**9, 1, 0)),
        ('{"prompt_tokens":1000000001,"completion_tokens":1}', None),
        ('{"prompt_tokens":-1,"completion_tokens":4}', None),
        ('{"prompt_tokens":3,"completion_tokens":-4}', None),
        ('{"prompt_tokens":3}', None),
        ('{"prompt_tokens":true,"completion_tokens":4}', None),
        ('{"prompt_tokens":"3","completion_tokens":4}', None),
        ("{}", None),
        ("[]", None),
        ("7", None),
    ],
)
def test_only_a_usage_that_can_be_meant_counts_as_reported(text: str, usage: ReportedUsage | None) -> None:
    assert read(text) == usage
