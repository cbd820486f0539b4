"""/admin/streams shows what runs, and ends it so that both sides notice."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from streamproxy.domain.identity import Role
from tests.admin.conftest import Caller
from tests.contract.shapes import assert_error
from tests.support.http import Client, Connection
from tests.support.proxies import StartProxy
from tests.support.steps import say, stall
from tests.support.upstream import ScriptedUpstream


async def _rest(connection: Connection) -> bytes:
    """The body to its end."""
    pieces = []
    while piece := await connection.piece():
        pieces.append(piece)
    return b"".join(pieces)


async def test_a_running_stream_is_shown_until_it_ends(
    admin: Client, caller: Caller, upstream: ScriptedUpstream
) -> None:
    upstream.script(say("Hel"), stall())
    connection = await caller.open_chat(model="scripted")
    head = await connection.head()
    await connection.frame()
    own = f"/admin/streams?user_id={caller.user_id}"
    page = (await admin.ask("GET", own)).json
    assert page["complete"] is True
    (stream,) = page["data"]
    assert stream == {
        "object": "stream",
        "id": head.get("X-Stream-Id"),
        "request_id": head.get("X-Request-Id"),
        "user_id": caller.user_id,
        "user_name": stream["user_name"],
        "model": "scripted",
        "endpoint": "/v1/chat/completions",
        "worker": stream["worker"],
        "age": stream["age"],
    }
    assert stream["age"] >= 0
    assert (await admin.ask("GET", f"{own}&after={stream['id']}")).json["data"] == []
    assert (await admin.ask("GET", "/admin/streams?user_id=u_nobody")).json["data"] == []
    connection.leave()
    await (await upstream.request()).left
    while (await admin.ask("GET", own)).json["data"]:
        pass


async def test_a_cancelled_stream_ends_validly_and_its_upstream_is_closed(
    admin: Client, caller: Caller, upstream: ScriptedUpstream
) -> None:
    """The reader keeps what was said, with a finish reason and one [DONE]."""
    upstream.script(say("Hel"), say("lo"), stall())
    connection = await caller.open_chat()
    stream_id = (await connection.head()).get("X-Stream-Id")
    first = await connection.piece()
    cancelled = await admin.ask("DELETE", f"/admin/streams/{stream_id}")
    assert cancelled.status == 202
    assert cancelled.json["id"] == stream_id
    text = first + await _rest(connection)
    assert text.count(b"data: [DONE]\n\n") == 1
    assert text.endswith(b"data: [DONE]\n\n")
    assert b'"finish_reason":"stop"' in text
    await (await upstream.request()).left


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_cancelled_before_its_answer_is_told_so(
    admin: Client, caller: Caller, upstream: ScriptedUpstream, stream: bool
) -> None:
    """There is no valid ending yet, so it is an error, and one that SDKs do not try again."""
    upstream.script(stall())
    connection = await caller.open_chat(stream=stream)
    request = await upstream.request()
    (running,) = (await admin.ask("GET", f"/admin/streams?user_id={caller.user_id}")).json["data"]
    assert (await admin.ask("DELETE", f"/admin/streams/{running['id']}")).status == 202
    answer = await connection.reply()
    assert assert_error(answer, 409)["code"] == "stream_cancelled"
    assert answer.head.get("X-Should-Retry") == "false"
    await request.left


async def test_what_does_not_run_is_a_404(admin: Client) -> None:
    answer = await admin.ask("DELETE", "/admin/streams/st_nothing")
    assert assert_error(answer, 404)["code"] == "stream_not_found"


async def test_streams_of_every_worker_are_shown_and_ended(start_proxy: StartProxy, upstream: ScriptedUpstream) -> None:
    """Whichever worker answers the admin."""
    proxy = start_proxy(SERVER__WORKERS="2")
    upstream.script(say("Hel"), stall())
    running: list[Connection] = []
    shown: list[dict[str, Any]] = []
    with closing(Client(proxy.port, proxy.api_token("root", role=Role.ADMIN))) as admin:
        while len({stream["worker"] for stream in shown}) < 2:
            running.append(await admin.open_chat())
            await running[-1].head()
            while len(shown) < len(running):
                shown = (await admin.ask("GET", "/admin/streams")).json["data"]
        for stream in shown:
            answer = await admin.ask("DELETE", f"/admin/streams/{stream['id']}")
            assert answer.status == 202, answer
            assert answer.json["worker"] == stream["worker"]
        for connection in running:
            assert (await _rest(connection)).endswith(b"data: [DONE]\n\n")
