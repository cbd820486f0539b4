"""Turns of a conversation, and what the upstream was told in them."""

from __future__ import annotations

from typing import Any

from tests.support.http import Client, Connection, Reply, chat
from tests.support.steps import Answer, Step, UpstreamRequest, done, finish, say, usage

# Not in the table of windows: 8,192 tokens.
MODEL = "scripted"
PATH = "/v1/chat/completions"


async def ask(client: Client, text: str, session: str | None = None, **fields: Any) -> Reply:
    """One turn and its whole answer."""
    return await (await begin(client, text, session, **fields)).reply()


async def begin(client: Client, text: str, session: str | None = None, **fields: Any) -> Connection:
    """Send one turn; its answer is still to be read."""
    body = {**chat(text), "model": MODEL, **fields}
    return await client.send("POST", PATH, body, **({"x_session_id": session} if session else {}))


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def acknowledge() -> Step:
    """A whole good answer that quotes the last message, in two pieces, so that everybody's answer is their own."""

    async def step(answer: Answer) -> None:
        for part in (say("You said: "), say(newest(answer.request)), finish(), usage(), done()):
            await part(answer)

    return step


def acknowledged(text: str) -> str:
    """What ``acknowledge`` answers to *text*."""
    return f"You said: {text}"


def told(request: UpstreamRequest) -> list[dict[str, str]]:
    """The messages that reached the upstream."""
    messages: list[dict[str, str]] = request.json["messages"]
    return messages


def newest(request: UpstreamRequest) -> str:
    """The text of the last message that reached the upstream."""
    return told(request)[-1]["content"]
