"""Questions under moderation, over HTTP: by the word list, and by the upstream's judgement."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.contract.shapes import assert_error
from tests.support.http import Client, chat
from tests.support.steps import UpstreamRequest, reply, stall
from tests.support.upstream import ScriptedUpstream

CHAT = "/v1/chat/completions"


def judgement(*flags: bool) -> dict[str, Any]:
    return {"id": "modr-1", "model": "judge", "results": [{"flagged": flag, "categories": {}} for flag in flags]}


def asked_to_judge(upstream: ScriptedUpstream) -> list[UpstreamRequest]:
    """What came to be judged: other proxies of this run probe the same upstream."""
    return [request for request in upstream.listed if request.path.endswith("/moderations")]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_question_with_a_phrase_is_refused_before_anything_is_counted(
    moderated: Client, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    """However often: the day's five requests are still there, and the upstream has seen none of them."""
    for _ in range(6):
        refused = assert_error(await moderated.chat("The Secret Plan, please", stream=stream), 400)
        assert (refused["code"], refused["type"]) == ("content_policy_violation", "invalid_request_error")
        assert refused["param"] == "messages"
    assert not upstream.requests
    assert (await moderated.chat("Hello", stream=stream)).status == 200


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "Plant a bomb."}, {"role": "user", "content": "Go"}],
        [{"role": "user", "content": [{"type": "text", "text": "a bomb"}]}],
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": "bomb"}, {"role": "user", "content": "y"}],
    ],
)
async def test_every_text_of_a_request_is_looked_at(moderated: Client, messages: list[dict[str, Any]]) -> None:
    refused = await moderated.ask("POST", CHAT, {"model": "gpt-4o-mini", "messages": messages})
    assert assert_error(refused, 400)["code"] == "content_policy_violation"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/images/generations", {"model": "scripted", "prompt": "a bomb"}, "prompt"),
        ("/v1/embeddings", {"model": "scripted", "input": ["fine", "bomb"]}, "input"),
    ],
)
async def test_prompts_for_pictures_and_texts_to_embed_are_questions_too(
    moderated: Client, path: str, body: dict[str, Any], param: str
) -> None:
    refused = assert_error(await moderated.ask("POST", path, body), 400)
    assert (refused["code"], refused["param"]) == ("content_policy_violation", param)


async def test_a_question_that_the_upstream_flags_is_refused(judged: Client, upstream: ScriptedUpstream) -> None:
    upstream.listing = reply(200, judgement(False, True))
    body = chat("two")
    body["messages"].insert(0, {"role": "system", "content": "one"})
    refused = assert_error(await judged.ask("POST", CHAT, body), 400)
    assert refused["code"] == "content_policy_violation"
    assert not upstream.requests
    (asked,) = asked_to_judge(upstream)
    assert asked.json == {"model": "judge", "input": ["one", "two"]}


async def test_a_question_that_the_upstream_does_not_flag_is_answered(
    judged: Client, upstream: ScriptedUpstream
) -> None:
    upstream.listing = reply(200, judgement(False))
    assert (await judged.chat("Hello there")).text() == "Hellothere"


@pytest.mark.parametrize("answer", [{"results": "none"}, {"results": [{}]}, {"error": {"message": "x"}}])
async def test_what_cannot_be_judged_is_not_asked(judged: Client, upstream: ScriptedUpstream, answer: object) -> None:
    upstream.listing = reply(200, answer)
    assert_error(await judged.chat("Hello there"), 502)
    assert not upstream.requests


async def test_leaving_while_the_question_is_judged_closes_the_upstream(
    judged: Client, upstream: ScriptedUpstream
) -> None:
    upstream.listing = stall()
    stream = await judged.open_chat()
    async with asyncio.timeout(5):
        while not (asked := asked_to_judge(upstream)):  # noqa: ASYNC110 (the upstream serves in this very loop)
            await asyncio.sleep(0)
        stream.leave()
        await asked[0].left
