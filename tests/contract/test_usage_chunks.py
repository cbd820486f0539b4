"""CONTRACTS A1.7: who asked for usage gets it once, who did not gets none, and we always ask."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.http import Client
from tests.support.steps import Step, chunk_of, done, drip, event, finish, reply, say, tokens, usage
from tests.support.upstream import ScriptedUpstream

ASKED: dict[str, Any] = {"stream_options": {"include_usage": True}}
NOT_ASKED: list[dict[str, Any]] = [
    {},
    {"stream_options": {"include_usage": False}},
    {"stream_options": {}},
    {"stream_options": None},
]
# Where upstreams put their usage; each says 7 and 5.
PLACES: dict[str, tuple[Step, ...]] = {
    "a last chunk": (say("a"), finish(), usage(), done()),
    "a last chunk without the end mark": (say("a"), finish(), usage()),
    "the finish chunk": (say("a"), finish(usage=tokens(7, 5)), done()),
    "the finish chunk and a last one": (say("a"), finish(usage=tokens(7, 5)), usage(), done()),
    "two last chunks": (say("a"), finish(), usage(), usage(), done()),
    "every chunk, growing": (say("a", usage=tokens(7, 1)), finish(usage=tokens(7, 5)), usage(), done()),
    "null until the last chunk": (say("a", usage=None), finish(usage=None), usage(), done()),
    "a last chunk in single bytes": (drip(), say("a"), finish(), usage(), done()),
}


def _usages(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [chunk["usage"] for chunk in chunks if chunk.get("usage")]


@pytest.mark.parametrize("script", PLACES.values(), ids=PLACES.keys())
async def test_usage_that_was_asked_for_comes_exactly_once(
    patient: Client, upstream: ScriptedUpstream, script: tuple[Step, ...]
) -> None:
    """As the last chunk before the end mark, wherever the upstream had put it."""
    upstream.script(*script)
    chunks = (await patient.chat(**ASKED)).chunks()
    assert _usages(chunks) == [tokens(7, 5)]
    assert chunks[-1].get("usage") == tokens(7, 5)
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons == [None, "stop"]


async def test_the_last_chunk_has_no_choices(patient: Client, upstream: ScriptedUpstream) -> None:
    """OpenAI's own shape is kept as it is."""
    upstream.script(say("a"), finish(), usage(), done())
    last = (await patient.chat(**ASKED)).chunks()[-1]
    assert last["choices"] == []
    assert last["object"] == "chat.completion.chunk"


@pytest.mark.parametrize("options", NOT_ASKED, ids=["absent", "false", "empty", "null"])
@pytest.mark.parametrize("script", PLACES.values(), ids=PLACES.keys())
async def test_usage_that_was_not_asked_for_reaches_nobody(
    patient: Client, upstream: ScriptedUpstream, script: tuple[Step, ...], options: dict[str, Any]
) -> None:
    """chatgpt-web and others read ``choices[0]`` of every chunk: one without choices would break them."""
    upstream.script(*script)
    answer = await patient.chat(**options)
    assert _usages(answer.chunks()) == []
    assert all(chunk["choices"] for chunk in answer.chunks())
    assert answer.text() == "a"
    assert answer.chunks()[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("options", [*NOT_ASKED, ASKED], ids=["absent", "false", "empty", "null", "asked"])
async def test_the_upstream_is_always_asked_for_usage(
    patient: Client, upstream: ScriptedUpstream, options: dict[str, Any]
) -> None:
    """Accounting needs it, whatever the client wants to see."""
    await patient.chat(**options)
    (request,) = upstream.requests
    assert request.json["stream_options"]["include_usage"] is True


async def test_other_stream_options_go_upstream_as_they_are(patient: Client, upstream: ScriptedUpstream) -> None:
    await patient.chat(stream_options={"include_obfuscation": False, "new": 1})
    (request,) = upstream.requests
    assert request.json["stream_options"] == {"include_obfuscation": False, "new": 1, "include_usage": True}


async def test_a_whole_answer_is_not_asked_for_stream_options(patient: Client, upstream: ScriptedUpstream) -> None:
    """OpenAI answers 400 to ``stream_options`` beside ``stream: false``; its usage is always there."""
    answer = await patient.chat(stream=False)
    assert answer.json["usage"] == tokens(7, 5)
    assert "stream_options" not in upstream.requests[0].json


async def test_details_of_usage_are_relayed(patient: Client, upstream: ScriptedUpstream) -> None:
    details = {**tokens(7, 5), "prompt_tokens_details": {"cached_tokens": 3}, "cost": 0.00012}
    upstream.script(say("a"), finish(), event(chunk_of({}, choices=[], usage=details)), done())
    assert _usages((await patient.chat(**ASKED)).chunks()) == [details]


@pytest.mark.parametrize(
    "broken",
    [{"prompt_tokens": -5, "completion_tokens": -1}, {"prompt_tokens": "7"}, {}, [], 5, "x", tokens(10**30, 1)],
)
async def test_nonsense_for_usage_does_not_break_the_answer(
    patient: Client, upstream: ScriptedUpstream, broken: object
) -> None:
    """U20: it concerns our accounting, not the reader."""
    upstream.script(say("a"), finish(), event(chunk_of({}, choices=[], usage=broken)), done())
    assert (await patient.chat()).text() == "a"
    upstream.script(reply(200, {"choices": [{"message": {"content": "b"}}], "usage": broken}))
    assert (await patient.chat(stream=False)).json["choices"][0]["message"]["content"] == "b"
