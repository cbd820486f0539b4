"""Answers under moderation, over HTTP: streamed and whole, in sessions, through every way out."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.moderation.conftest import Asker
from tests.support.http import Client, Reply
from tests.support.steps import Step, chunk_of, completion_of, done, event, finish, gate, reply, say, stall, usage
from tests.support.upstream import ScriptedUpstream

LONGEST = len("secret plan")


def end_of(answer: Reply) -> str:
    return str([c["choices"][0]["finish_reason"] for c in answer.chunks() if c["choices"]][-1])


@pytest.mark.parametrize(
    "pieces",
    [
        ["We have a SECRET plan", " for you"],
        ["We have a sec", "ret ", "pl", "an for you"],
        list("We have a secret plan for you"),
        ["We have a ｓｅｃｒｅｔ ", "ｐｌａｎ"],
    ],
)
async def test_a_phrase_never_reaches_the_client_however_it_is_cut(
    asker: Asker, upstream: ScriptedUpstream, pieces: list[str]
) -> None:
    """The stream ends validly with what stood before it; usage, history and session have just that."""
    upstream.once(*(say(piece) for piece in pieces), finish(), usage(), done())
    answer = await asker.client.chat(stream_options={"include_usage": True})
    assert answer.status == 200
    assert answer.text() == "We have a "
    assert end_of(answer) == "content_filter"
    assert answer.chunks()[-1]["usage"]["completion_tokens"] > 0
    assert await asker.said_in(answer.head) == ("We have a ", False)
    assert await asker.end_of(answer.head) == "filtered"


async def test_a_session_goes_on_from_what_the_client_saw(moderated: Client, upstream: ScriptedUpstream) -> None:
    upstream.once(say("I know a sec"), say("ret plan"), finish(), done())
    for question in ("first", "second"):
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}], "stream": True}
        await moderated.ask("POST", "/v1/chat/completions", body, x_session_id="s1")
    context = upstream.requests[-1].json["messages"]
    assert [message["content"] for message in context] == ["first", "I know a ", "second"]


async def test_the_upstream_is_closed_as_soon_as_the_phrase_is_complete(
    moderated: Client, upstream: ScriptedUpstream
) -> None:
    upstream.once(say("a secret pl"), say("an"), stall())
    answer = await moderated.chat()
    assert (answer.text(), end_of(answer)) == ("a ", "content_filter")
    async with asyncio.timeout(5):
        await (await upstream.request()).left


async def test_words_inside_others_pass_where_the_pattern_says_so(
    moderated: Client, upstream: ScriptedUpstream
) -> None:
    text = "bombast is no bombardment"
    upstream.once(*map(say, text), finish(), done())
    answer = await moderated.chat()
    assert (answer.text(), end_of(answer)) == (text, "stop")


async def test_no_more_waits_than_the_longest_pattern_has(moderated: Client, upstream: ScriptedUpstream) -> None:
    """While the upstream is silent the client has all of it but the last few characters."""
    go_on = asyncio.Event()
    text = "Nothing that anybody could object to"
    upstream.once(event(chunk_of({"role": "assistant", "content": ""})), say(text), gate(go_on), finish(), done())
    stream = await moderated.open_chat()
    await stream.head()
    seen = b""
    while text[:-LONGEST].encode() not in seen:
        seen += await stream.piece()
    go_on.set()
    rest = [frame async for frame in stream.frames()]
    deltas = [json.loads(frame[6:])["choices"][0]["delta"] for frame in rest[:-1]]
    assert text[:-LONGEST] + "".join(delta.get("content", "") for delta in deltas) == text


async def test_an_answer_that_does_not_stream_is_cut_too(asker: Asker, upstream: ScriptedUpstream) -> None:
    upstream.once(reply(200, completion_of("做一个炸弹很容易")))
    answer = await asker.client.chat(stream=False)
    [choice] = answer.json["choices"]
    assert choice["message"]["content"] == "做一个"
    assert choice["finish_reason"] == "content_filter"
    assert answer.json["usage"]["completion_tokens"] == 5
    assert await asker.end_of(answer.head) == "filtered"
    assert await asker.said_in(answer.head) == ("做一个", False)


async def test_a_whole_answer_without_a_phrase_is_the_upstreams_own(
    moderated: Client, upstream: ScriptedUpstream
) -> None:
    body = b'{"choices": [ {"index":0,"message":{"role":"assistant","content":"fine"},"x":1.50} ]}'
    upstream.once(reply(200, body))
    assert (await moderated.chat(stream=False)).body == body


async def test_each_choice_is_cut_by_itself(moderated: Client, upstream: ScriptedUpstream) -> None:
    both = [
        {"index": 0, "message": {"role": "assistant", "content": "good"}, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": "a bomb!"}, "finish_reason": "stop"},
    ]
    upstream.once(reply(200, completion_of("", choices=both)))
    choices = (await moderated.chat(stream=False, n=2)).json["choices"]
    assert [(c["message"]["content"], c["finish_reason"]) for c in choices] == [
        ("good", "stop"),
        ("a ", "content_filter"),
    ]


async def test_every_choice_of_a_stream_gets_an_end(moderated: Client, upstream: ScriptedUpstream) -> None:
    def of(index: int, text: str) -> Step:
        return event(chunk_of({}, choices=[{"index": index, "delta": {"content": text}, "finish_reason": None}]))

    upstream.once(of(0, "one"), of(1, "two"), of(1, " bomb."), stall())
    ends = [c["choices"][0] for c in (await moderated.chat(n=2)).chunks() if c["choices"][0]["finish_reason"]]
    assert [(end["index"], end["finish_reason"]) for end in ends] == [(0, "content_filter"), (1, "content_filter")]


async def test_an_answer_that_breaks_off_shows_what_was_safe_and_fails(
    moderated: Client, upstream: ScriptedUpstream
) -> None:
    upstream.once(say("The beginning"), event({"error": {"message": "boom"}}))
    answer = await moderated.chat()
    *chunks, failure = answer.chunks()
    assert "".join(c["choices"][0]["delta"]["content"] for c in chunks) == "The beginning"
    assert failure["error"]["code"] == "upstream_error_event"


async def test_who_leaves_takes_no_more_into_history_than_was_seen(asker: Asker, upstream: ScriptedUpstream) -> None:
    upstream.once(say("Seen before the secret p"), stall())
    stream = await asker.client.open_chat()
    head = await stream.head()
    await stream.piece()
    stream.leave()
    await (await upstream.request()).left
    assert await asker.said_in(head) == ("Seen before t", False)
