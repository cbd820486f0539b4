"""The lasting record, on SQLite and PostgreSQL: one usage row for every ending, and what was said, as it was said."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.server import Server
from tests.e2e.talk import MODEL, PATH, ask, assistant, begin, system, user
from tests.support.postgres_server import PostgresServer
from tests.support.steps import (
    Step,
    completion_of,
    done,
    drop,
    error_of,
    event,
    fin,
    finish,
    raw,
    reply,
    say,
    stall,
    usage,
)
from tests.support.upstream import ScriptedUpstream


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, launch: Launch) -> Server:
    if request.param == "sqlite":
        return launch(workers=2)
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    return launch(workers=2, DATABASE__URL=postgres.create_database(f"e2e_{time.time_ns()}"))


@pytest.fixture(autouse=True)
def sound(server: Server) -> Iterator[None]:
    yield
    server.check_log()


def said(rows: list[dict[str, Any]]) -> list[tuple[Any, bool]]:
    """Messages and whether they are complete, in their order."""
    assert [row["position"] for row in rows] == list(range(len(rows)))
    return [(row["message"], bool(row["complete"])) for row in rows]


async def test_a_finished_stream_has_the_upstreams_own_usage(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.script(say("Two "), say("words."), finish(), usage(70, 50), done())
    began = time.time()
    answer = await ask(speak(server, person), "How many?", "counted")
    (row,) = await server.usage(person)
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == (70, 50, False)
    assert (row["end_reason"], row["error_code"], row["attempts"]) == ("finish", None, 1)
    assert (row["model"], row["endpoint"], row["session_id"]) == (MODEL, PATH, "counted")
    assert (row["request_id"], row["stream_id"]) == (answer.head.get("X-Request-Id"), answer.head.get("X-Stream-Id"))
    assert (row["upstream"], row["key_last4"]) == ("default", (upstream.requests[0].header("Authorization") or "")[-4:])
    assert began - 1 <= row["created"] <= time.time() + 1
    assert 0 <= row["ttft_ms"] <= row["duration_ms"] < 60_000
    assert row["chunks"] >= 3
    assert said(await server.history(person)) == [(user("How many?"), True), (assistant("Two words."), True)]


async def test_a_finished_stream_without_usage_is_estimated_and_says_so(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.script(say("One two three."), finish(), done())
    await ask(speak(server, person), "Count to three.")
    (row,) = await server.usage(person)
    assert (row["end_reason"], row["estimated"]) == ("finish", True)
    assert 8 <= row["prompt_tokens"] <= 14
    assert 3 <= row["completion_tokens"] <= 6


async def test_an_answer_that_is_not_streamed_has_its_row_too(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.script(reply(200, completion_of("Whole.")))
    await ask(speak(server, person), "At once.", stream=False)
    (row,) = await server.usage(person)
    assert (row["prompt_tokens"], row["completion_tokens"], row["end_reason"]) == (7, 5, "finish")
    assert said(await server.history(person)) == [(user("At once."), True), (assistant("Whole."), True)]


async def test_a_client_that_left_is_charged_what_was_said_and_no_more(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.script(say("The first half"), stall())
    stream = await begin(speak(server, person), "Tell me all.")
    await stream.head()
    await stream.frame()
    stream.leave()
    (row,) = await server.usage(person)
    assert (row["end_reason"], row["estimated"], row["chunks"]) == ("client_gone", True, 1)
    assert 2 <= row["completion_tokens"] <= 4
    assert said(await server.history(person)) == [(user("Tell me all."), True), (assistant("The first half"), False)]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_client_that_left_before_the_first_event_has_a_row_and_no_history(
    server: Server, speak: Speak, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    (person,) = await server.people(1)
    upstream.script(stall())
    connection = await begin(speak(server, person), "Hello?", stream=stream)
    await upstream.request()
    connection.leave()
    (row,) = await server.usage(person)
    assert (row["end_reason"], row["chunks"], row["ttft_ms"], row["completion_tokens"]) == ("client_gone", 0, None, 0)
    assert await server.history(person) == []


DEATHS: dict[str, tuple[Step, str]] = {
    "RST": (drop(), "upstream_disconnected"),
    "FIN": (fin(), "upstream_disconnected"),
    "garbage": (raw(b"data: {no json\n\n"), "upstream_malformed"),
    "error event": (event(error_of("out of memory")), "upstream_error_event"),
}


@pytest.mark.parametrize(("death", "code"), DEATHS.values(), ids=DEATHS.keys())
async def test_an_upstream_that_died_in_mid_stream_has_a_row_and_what_it_said(
    server: Server, speak: Speak, upstream: ScriptedUpstream, death: Step, code: str
) -> None:
    (person,) = await server.people(1)
    upstream.script(say("The first half"), death)
    assert "error" in (await ask(speak(server, person), "Tell me all.")).chunks()[-1]
    (row,) = await server.usage(person)
    assert (row["end_reason"], row["error_code"], row["estimated"]) == ("upstream_error", code, True)
    assert row["completion_tokens"] > 0
    assert said(await server.history(person)) == [(user("Tell me all."), True), (assistant("The first half"), False)]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    "failure", [reply(500, error_of("x")), reply(400, error_of("x")), drop()], ids=["500", "400", "RST"]
)
async def test_a_failure_before_the_first_event_has_a_row_without_tokens_and_no_history(
    server: Server, speak: Speak, upstream: ScriptedUpstream, failure: Step, *, stream: bool
) -> None:
    (person,) = await server.people(1)
    upstream.script(failure)
    assert (await ask(speak(server, person), "Hello?", stream=stream)).status in (400, 502)
    (row,) = await server.usage(person)
    assert (row["end_reason"], row["prompt_tokens"], row["completion_tokens"]) == ("upstream_error", 0, 0)
    assert row["error_code"]
    assert row["attempts"] >= 1
    assert await server.history(person) == []


async def test_a_request_that_reached_no_upstream_has_no_row(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    assert (await ask(speak(server, person), "x", model="unknown")).status == 404
    assert (await ask(speak(server, person), "x", "no session id")).status == 400
    upstream.script(say("Yes."), finish(), done())
    await ask(speak(server, person), "x")
    await server.usage(person, 1)


async def test_history_keeps_the_system_message_of_a_session_and_every_part_of_a_message_as_it_was_said(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    question = {"role": "user", "content": [{"type": "text", "text": "你好 🙂\n\u2028"}, picture], "name": "alice"}
    upstream.script(say("猫 "), say("\u0000🐈"), finish(), done())
    await ask(speak(server, person), "", "parts", messages=[system("Be brief."), question])
    await server.usage(person)
    assert said(await server.history(person)) == [
        (system("Be brief."), True),
        (question, True),
        (assistant("猫 \u0000🐈"), True),
    ]


async def test_history_of_calls_without_a_session_holds_the_new_messages_only(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """Clients that carry their own context send all of it each time."""
    (person,) = await server.people(1)
    upstream.script(say("Four."), finish(), done())
    context = [system("Be brief."), user("one"), assistant("two"), user("three")]
    await ask(speak(server, person), "", messages=context)
    await server.usage(person)
    assert said(await server.history(person)) == [(user("three"), True), (assistant("Four."), True)]


async def test_history_keeps_the_calls_of_tools(server: Server, speak: Speak, upstream: ScriptedUpstream) -> None:
    (person,) = await server.people(1)
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    more = [{"index": 0, "function": {"arguments": part}} for part in ('{"city":', ' "Köln"}')]
    deltas = [{"role": "assistant", "content": None, "tool_calls": [call]} for call in (first, *more)]
    chunks = [{"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": d}]} for d in deltas]
    upstream.script(*(event(chunk) for chunk in chunks), finish("tool_calls"), done())
    await ask(speak(server, person), "Weather?", "tools")
    await server.usage(person)
    kept = (await server.history(person))[-1]["message"]
    assert kept["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Köln"}'}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "12 °C"}
    upstream.script(say("Cool."), finish(), done())
    await ask(speak(server, person), "", "tools", messages=[result])
    sent = upstream.requests[-1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == "call_1"


async def test_a_hundred_streams_at_once_have_a_hundred_rows(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """In group commit none is lost and none written twice."""
    (person,) = await server.people(1)
    upstream.script(say("Yes."), finish(), usage(1, 2), done())
    answers = await asyncio.gather(*(ask(speak(server, person), f"{number}") for number in range(100)))
    rows = await server.usage(person, 100)
    assert {row["stream_id"] for row in rows} == {answer.head.get("X-Stream-Id") for answer in answers}
    assert len(await server.history(person)) == 200


async def test_the_command_usage_adds_up_what_the_ledger_holds(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.script(say("Yes."), finish(), usage(70, 5), done())
    for _ in range(2):
        await ask(speak(server, person), "x")
    await server.usage(person, 2)
    table = await asyncio.to_thread(server.command, "usage", person.name)
    numbers = re.findall(r"\d+", table.splitlines()[1].partition(MODEL)[2])
    assert numbers[:4] == ["2", "140", "10", "0"]
