"""``?format=ai-sdk``: the UI message stream over HTTP, and how the AI SDK resumes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.http import Client, Connection, Reply, chat
from tests.support.steps import done, drop, finish, gate, say, stall
from tests.support.upstream import ScriptedUpstream
from tests.wire.test_aisdk import parts

CHAT = "/v1/chat/completions?format=ai-sdk"


def text_of(rendered: bytes) -> str:
    return "".join(part["delta"] for part in parts(rendered) if part != "[DONE]" and part["type"] == "text-delta")


async def begun(client: Client) -> str:
    """The id of a new resumable stream."""
    reply = await client.ask("POST", "/v1/streams", chat("Go on"))
    return str(reply.json["id"])


async def rest_of(connection: Connection) -> bytes:
    """All that still comes."""
    pieces = []
    while piece := await connection.piece():
        pieces.append(piece)
    return b"".join(pieces)


async def resume(client: Client, stream_id: str, **position: str) -> Reply:
    return await client.ask("GET", f"/v1/streams/{stream_id}/events?format=ai-sdk", **position)


async def test_a_chat_is_answered_as_a_ui_message_stream(here: Client, upstream: ScriptedUpstream) -> None:
    upstream.once(say("Hel"), say("lo"), finish(), done())
    reply = await here.ask("POST", CHAT, chat())
    assert (reply.status, reply.head.get("x-vercel-ai-ui-message-stream")) == (200, "v1")
    assert parts(reply.body)[0] == {"type": "start", "messageId": reply.head.get("X-Stream-Id")}
    assert text_of(reply.body) == "Hello"
    assert reply.body.endswith(b"data: [DONE]\n\n")


async def test_who_leaves_a_plain_one_closes_the_upstream(here: Client, upstream: ScriptedUpstream) -> None:
    upstream.once(say("Hello"), stall())
    connection = await here.send("POST", CHAT, chat())
    await connection.head()
    await connection.piece()
    connection.leave()
    assert await asyncio.wait_for((await upstream.request()).left, 5) in {"fin", "reset"}


async def test_an_upstream_that_breaks_off_is_an_error_part(here: Client, upstream: ScriptedUpstream) -> None:
    upstream.once(say("Hello"), drop())
    reply = await here.ask("POST", CHAT, chat())
    assert [part if part == "[DONE]" else part["type"] for part in parts(reply.body)[-2:]] == ["error", "[DONE]"]


async def test_a_running_stream_is_replayed_from_its_beginning_on_any_worker(
    here: Client, elsewhere: Client, upstream: ScriptedUpstream
) -> None:
    rest = asyncio.Event()
    upstream.once(say("one "), gate(rest), say("two"), finish(), done())
    stream_id = await begun(here)
    connection = await elsewhere.send("GET", f"/v1/streams/{stream_id}/events?format=ai-sdk")
    head = await connection.head()
    assert head.get("x-vercel-ai-ui-message-stream") == "v1"
    rest.set()
    body = await rest_of(connection)
    assert parts(body)[0] == {"type": "start", "messageId": stream_id}
    assert text_of(body) == "one two"


@pytest.mark.parametrize("worker", ["here", "elsewhere"])
async def test_where_nothing_runs_the_answer_is_204(
    worker: str, here: Client, elsewhere: Client, upstream: ScriptedUpstream
) -> None:
    """After the end, and for a stream that nobody knows."""
    stream_id = await begun(here)
    client = {"here": here, "elsewhere": elsewhere}[worker]
    await client.ask("GET", f"/v1/streams/{stream_id}/events")
    assert (await resume(client, stream_id)).status == 204
    assert (await resume(client, "st_0123456789abcdefghijkl")).status == 204


async def test_the_stream_of_somebody_else_is_nothing_to_resume(
    here: Client, stranger: Client, upstream: ScriptedUpstream
) -> None:
    rest = asyncio.Event()
    upstream.once(say("one "), gate(rest), finish(), done())
    stream_id = await begun(here)
    assert (await resume(stranger, stream_id)).status == 204
    rest.set()


async def test_who_says_from_where_gets_the_rest_also_after_the_end(here: Client, upstream: ScriptedUpstream) -> None:
    upstream.once(say("one "), say("two"), finish(), done())
    stream_id = await begun(here)
    await here.ask("GET", f"/v1/streams/{stream_id}/events")
    whole = await resume(here, stream_id, last_event_id=f"{stream_id}.0")
    assert text_of(whole.body) == "one two"
    rest = await resume(here, stream_id, last_event_id=f"{stream_id}.1")
    assert text_of(rest.body) == "two"
    assert whole.body.endswith(rest.body)
    last = whole.body.rpartition(b"id: ")[2].partition(b"\n")[0].decode()
    assert (await resume(here, stream_id, last_event_id=last)).status == 204


async def test_a_cancelled_stream_ends_and_is_not_broken(here: Client, upstream: ScriptedUpstream) -> None:
    upstream.once(say("one"), stall())
    stream_id = await begun(here)
    connection = await here.send("GET", f"/v1/streams/{stream_id}/events?format=ai-sdk")
    await connection.head()
    first = await connection.piece()
    await here.ask("POST", f"/v1/streams/{stream_id}/cancel")
    body = first + await rest_of(connection)
    kinds = [part if part == "[DONE]" else part["type"] for part in parts(body)]
    assert "error" not in kinds
    assert kinds[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions?format=xml", chat(), "format"),
        (CHAT, chat(stream=False), "stream"),
    ],
)
async def test_a_format_that_cannot_be_had_is_refused(here: Client, path: str, body: Any, param: str) -> None:
    reply = await here.ask("POST", path, body)
    assert (reply.status, reply.json["error"]["param"]) == (400, param)
