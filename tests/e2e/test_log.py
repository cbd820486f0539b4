"""The log: one structured line for each request, with every id and number, and never a word of what was said."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Server
from tests.e2e.talk import MODEL, PATH, acknowledge, ask, begin
from tests.support.http import Client, chat
from tests.support.proxy import FAULTS
from tests.support.steps import (
    Step,
    completion_of,
    done,
    drop,
    error_of,
    event,
    finish,
    head,
    raw,
    reply,
    say,
    stall,
    usage,
)
from tests.support.upstream import ScriptedUpstream


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    return launch(workers=2)


@pytest.fixture(scope="module")
def talkative(launch: Launch) -> Server:
    """Logs everything there is to log."""
    return launch(LOG__LEVEL="DEBUG")


@pytest.fixture(autouse=True)
def sound(server: Server, upstream: ScriptedUpstream) -> Iterator[None]:
    upstream.script(acknowledge())
    yield
    server.check_log()


async def line_of(server: Server, request_id: str | None) -> dict[str, Any]:
    """The one line of a request; it is written when the request is over."""
    assert request_id
    (line,) = await until(lambda: server.requests_logged(request_id=request_id), "the line")
    found: dict[str, Any] = line
    return found


async def test_a_stream_has_one_line_with_every_id_and_number(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.script(say("Two "), say("words."), finish(), usage(70, 50), done())
    answer = await ask(speak(server, person), "Well?", "session-1")
    line = await line_of(server, answer.head.get("X-Request-Id"))
    expected = {
        "level": "INFO",
        "method": "POST",
        "path": PATH,
        "status": 200,
        "principal": person.id,
        "model": MODEL,
        "stream_id": answer.head.get("X-Stream-Id"),
        "upstream": "default",
        "key": (upstream.requests[0].header("Authorization") or "")[-4:],
        "attempts": 1,
        "prompt_tokens": 70,
        "completion_tokens": 50,
        "estimated": False,
        "end_reason": "finish",
    }
    assert line | expected == line
    assert 0 <= line["ttft_ms"] <= line["ms"] < 60_000
    assert line["chunks"] >= 3
    assert "error" not in line


async def test_an_answer_that_is_not_streamed_has_the_same_line(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.script(reply(200, completion_of("Whole.")))
    answer = await ask(speak(server, person), "Well?", stream=False)
    line = await line_of(server, answer.head.get("X-Request-Id"))
    assert (line["status"], line["end_reason"], line["prompt_tokens"], line["completion_tokens"]) == (
        200,
        "finish",
        7,
        5,
    )


LEAVING: dict[str, tuple[Step, ...]] = {
    "before the first event": (stall(),),
    "in the middle": (say("One"), stall()),
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("script", LEAVING.values(), ids=LEAVING.keys())
async def test_a_client_that_left_has_a_line_with_status_499(
    server: Server, speak: Speak, upstream: ScriptedUpstream, script: tuple[Step, ...], *, stream: bool
) -> None:
    (person,) = await server.people(1)
    upstream.script(*script)
    connection = await begin(speak(server, person), "Well?", stream=stream)
    await upstream.request()
    if stream and len(script) > 1:
        await connection.head()
        await connection.frame()
    connection.leave()
    (line,) = await until(lambda: server.requests_logged(principal=person.id), "the line")
    assert (line["status"], line["end_reason"]) == (499, "client_gone")
    assert line["model"] == MODEL


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ((reply(500, error_of("x")),), 502, None),
        ((reply(400, error_of("x")),), 400, None),
        ((say("One"), drop()), 200, "upstream_disconnected"),
        ((say("One"), event(error_of("x"))), 200, "upstream_error_event"),
    ],
    ids=["500", "400", "cut", "error event"],
)
async def test_a_failure_has_one_line_that_names_it(
    server: Server, speak: Speak, upstream: ScriptedUpstream, script: tuple[Step, ...], status: int, code: str | None
) -> None:
    (person,) = await server.people(1)
    upstream.script(*script)
    answer = await ask(speak(server, person), "Well?")
    line = await line_of(server, answer.head.get("X-Request-Id"))
    assert (line["status"], line["end_reason"]) == (status, "upstream_error")
    assert line["error"] == (code or answer.json["error"]["code"])


async def test_what_never_reached_the_upstream_has_one_line_too(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    client, stranger = speak(server, person), Client(server.port)
    try:
        answers = [
            (await ask(client, "x", model="unknown"), 404),
            (await client.ask("POST", PATH, b"{broken"), 400),
            (await client.ask("GET", "/nowhere"), 404),
            (await client.ask("DELETE", PATH), 405),
            (await stranger.chat(), 401),
        ]
    finally:
        stranger.close()
    for answer, status in answers:
        line = await line_of(server, answer.head.get("X-Request-Id"))
        assert (line["status"], line["error"]) == (status, answer.json["error"]["code"])
        assert line.get("principal") == (person.id if status not in (401,) and line["path"] != "/nowhere" else None)


async def test_every_request_has_an_id_of_its_own(server: Server, speak: Speak, upstream: ScriptedUpstream) -> None:
    (person,) = await server.people(1)
    answers = [await ask(speak(server, person), "x", x_request_id="mine") for _ in range(5)]
    ids = {answer.head.get("X-Request-Id") for answer in answers}
    assert len(ids) == 5
    assert "mine" not in ids


@pytest.mark.parametrize(
    "name",
    [
        "server",
        "talkative",
    ],
    ids=["INFO", "DEBUG"],
)
async def test_nothing_secret_and_nothing_said_is_in_the_log(
    request: pytest.FixtureRequest, upstream: ScriptedUpstream, name: str
) -> None:
    """Whatever way it came: body, header, query, answer, an upstream's error; finished, cut, refused or broken."""
    server: Server = request.getfixturevalue(name)
    (person,) = await server.people(1)
    planted = {
        what: f"planted{what}{secrets.token_hex(6)}" for what in ("prompt", "answer", "query", "error", "broken")
    }
    api_token = await server.api_token_of(person)
    wrong_bearer = f"Bearer wrong-{secrets.token_hex(12)}"
    key = server.keys[0]
    scripts: list[tuple[Step, ...]] = [
        (say(planted["answer"]), finish(), done()),
        (say(planted["answer"]), drop()),
        (say(planted["answer"]), event(error_of(f"{planted['error']} {key}"))),
        (say(planted["answer"]), raw(b"data: " + planted["broken"].encode() + b"\n\n")),
        (reply(400, error_of(f"{planted['error']} {key}")),),
        (reply(500, error_of(f"{planted['error']} {key}")),),
        (reply(401, error_of(f"Incorrect API key provided: {key}", code="invalid_api_key")),),
        (reply(200, planted["broken"].encode()),),
        (head(200, content_type="text/html"), raw(planted["broken"].encode())),
    ]
    for credential in (person.bearer, api_token):
        client = Client(server.port, credential)
        try:
            for script in scripts:
                upstream.script(*script)
                for stream in (True, False):
                    body = chat(planted["prompt"], stream=stream)
                    path = f"{PATH}?api_key={planted['query']}&note={planted['query']}"
                    await client.ask("POST", path, body, x_session_id="planted", cookie=f"a={planted['query']}")
            await client.ask("POST", f"{PATH}?ticket={planted['query']}", planted["broken"].encode())
            await client.ask("POST", PATH, {"model": planted["broken"], "messages": 1})
            await client.ask("GET", f"/nowhere?token={planted['query']}", authorization=wrong_bearer)
            upstream.script(say(planted["answer"]), stall())
            leaving = await client.open_chat(planted["prompt"])
            await leaving.head()
            leaving.leave()
        finally:
            client.close()

    def both_left() -> bool:
        return len(server.requests_logged(principal=person.id, status=499)) == 2

    await until(both_left, "the lines of those that left")
    log = server.log()
    secret = [
        *planted.values(),
        person.bearer,
        person.bearer.rpartition(".")[2],
        api_token,
        wrong_bearer[7:],
        server.secret,
    ]
    assert [text for text in [*secret, *server.keys] if text in log] == []
    assert api_token[6:] not in log


async def test_every_line_of_the_log_is_one_json_object_with_time_level_and_logger(server: Server) -> None:
    for line in server.lines():
        assert {"time", "level", "logger", "message"} <= line.keys()
    assert not [fault for fault in FAULTS if fault in json.dumps(server.lines())]
