"""CONTRACTS C5: conversations that do not break, however many people talk at once, whichever way they come in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from tests.compat.conftest import Accounts
from tests.support.http import Client, chat
from tests.support.steps import Answer, Step, done, finish, say, stall
from tests.support.upstream import ScriptedUpstream

PEOPLE = 16
Turn: TypeAlias = Callable[[Client, str, str], Awaitable[None]]


def retold() -> Step:
    """Says back the last message word by word, each after a pause of its own, so that answers interleave."""

    async def step(answer: Answer) -> None:
        words = answer.request.json["messages"][-1]["content"].split()
        for word in words:
            # Nothing waits for this: it only shuffles the answers.
            await asyncio.sleep(random.random() / 50)
            await say(f"{word} ")(answer)
        for part in (finish(), done()):
            await part(answer)

    return step


async def openai_turn(client: Client, bearer: str, text: str) -> None:
    answer = await client.ask(
        "POST", "/v1/chat/completions", chat(text), authorization=f"Bearer {bearer}", x_session_id="conversation"
    )
    assert answer.text() == f"{text} "


async def pro_turn(client: Client, bearer: str, text: str) -> None:
    body = {"sessionId": "conversation", "content": text, "stream": True}
    answer = await client.ask("POST", "/pro/chat/completions", body, authorization=f"Bearer {bearer}")
    assert answer.text() == f"{text} "


def prompts(upstream: ScriptedUpstream) -> list[list[str]]:
    return [[message["content"] for message in request.json["messages"]] for request in upstream.requests]


@pytest.mark.parametrize("turn", [openai_turn, pro_turn], ids=["openai", "pro"])
async def test_every_second_turn_contains_exactly_its_own_first_turn(
    anybody: Client, accounts: Accounts, upstream: ScriptedUpstream, turn: Turn
) -> None:
    """Sixteen people at once, all in a session of the same name, two turns each; no answer is cut."""
    upstream.script(retold())
    bearers = [await accounts.bearer(await accounts.user()) for _ in range(PEOPLE)]

    async def talk(number: int) -> None:
        for sentence in ("first", "second"):
            await turn(anybody, bearers[number], f"{sentence} words of person {number}")

    await asyncio.gather(*(talk(number) for number in range(PEOPLE)))
    first = [f"first words of person {number}" for number in range(PEOPLE)]
    expected = [[text] for text in first]
    expected += [[text, f"{text} ", text.replace("first", "second")] for text in first]
    assert sorted(prompts(upstream)) == sorted(expected)


async def test_an_answer_that_was_cut_by_a_disconnect_is_still_in_the_context(
    anybody: Client, accounts: Accounts, upstream: ScriptedUpstream
) -> None:
    bearer = await accounts.bearer(await accounts.user())
    upstream.once(say("The answer begins"), say(" and goes on"), stall())
    fields: dict[str, Any] = {"authorization": f"Bearer {bearer}", "x_session_id": "cut"}
    connection = await anybody.send("POST", "/v1/chat/completions", chat("Tell me"), **fields)
    await connection.head()
    heard = b""
    while b"goes on" not in heard:
        heard += await connection.piece()
    connection.leave()
    await upstream.requests[0].left
    upstream.script(retold())
    await anybody.ask("POST", "/v1/chat/completions", chat("Go on"), **fields)
    assert prompts(upstream)[1] == ["Tell me", "The answer begins and goes on", "Go on"]
