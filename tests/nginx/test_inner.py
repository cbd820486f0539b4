"""The inner hop, as the project ships it, in a real nginx."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
from tornado.ioloop import IOLoop

from tests.support.http import DONE, Client
from tests.support.nginx import inner
from tests.support.proxy import ProxyProcess
from tests.support.steps import done, drop, finish, gate, say, stall
from tests.support.upstream import ScriptedUpstream

Front: TypeAlias = Callable[..., Client]


@pytest.fixture
def front(io_loop: IOLoop, tmp_path: Path) -> Iterator[Front]:
    """``front(*ports, bearer=…)``: a caller whose requests go through an nginx before these workers."""
    with ExitStack() as stack:

        def start(*workers: int, bearer: str | None = None) -> Client:
            nginx = inner(tmp_path, workers)
            nginx.start()
            stack.callback(nginx.stop)
            client = Client(nginx.port, bearer)
            stack.callback(client.close)
            return client

        yield start


@pytest.fixture
def away() -> Iterator[int]:
    """The port of a worker that is not there: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_nginx_accepts_the_configuration_without_a_warning(tmp_path: Path) -> None:
    assert inner(tmp_path, (8888, 8889)).complaints() == ""


async def test_the_first_words_arrive_while_the_upstream_is_still_speaking(
    front: Front, patient_proxy: ProxyProcess, upstream: ScriptedUpstream
) -> None:
    """Also when one of the two workers is away: a refused connection goes to the next one."""
    client = front(patient_proxy.port, bearer=patient_proxy.bearer("tester"))
    the_rest = asyncio.Event()
    upstream.once(say("first"), gate(the_rest), say("last"), finish(), done())
    connection = await client.open_chat()
    head = await connection.head()
    assert head.get("Content-Type") == "text/event-stream; charset=utf-8"
    assert head.get("Content-Encoding") is None
    frames = connection.frames()
    assert b"first" in await anext(frames)
    assert upstream.running == 1, "the upstream waits for the test: it cannot have finished"
    the_rest.set()
    rest = [frame async for frame in frames]
    assert b"last" in rest[0]
    assert rest[-1] == DONE


async def test_a_worker_that_is_away_costs_no_request(
    front: Front, away: int, patient_proxy: ProxyProcess, upstream: ScriptedUpstream
) -> None:
    client = front(away, patient_proxy.port, bearer=patient_proxy.bearer("tester"))
    for _ in range(4):
        assert (await client.chat("Hello there")).text() == "Hellothere"


async def test_a_reader_who_leaves_closes_the_upstream(
    front: Front, patient_proxy: ProxyProcess, upstream: ScriptedUpstream
) -> None:
    client = front(patient_proxy.port, bearer=patient_proxy.bearer("tester"))
    upstream.once(say("first"), stall())
    connection = await client.open_chat()
    await connection.head()
    await connection.piece()
    connection.leave()
    request = await upstream.request()
    assert await asyncio.wait_for(request.left, 5) in {"fin", "reset"}


async def test_a_question_that_reached_a_worker_is_not_sent_to_another(
    front: Front, upstream: ScriptedUpstream, upstream_socket: socket.socket
) -> None:
    """The worker here is the scripted upstream itself, which takes the question and dies."""
    port = upstream_socket.getsockname()[1]
    client = front(port, port)
    upstream.script(drop())
    reply = await client.chat()
    assert (reply.status, len(upstream.requests)) == (503, 1)


async def test_when_all_workers_are_away_nginx_says_so_in_the_shape_of_the_api(front: Front, away: int) -> None:
    reply = await front(away).chat()
    assert (reply.status, reply.head.get("Retry-After")) == (503, "1")
    assert set(reply.json["error"]) == {"message", "type", "param", "code"}
    assert reply.json["error"]["code"] == "server_away"


async def test_a_body_that_nginx_finds_too_large_is_refused_in_the_shape_of_the_api(front: Front, away: int) -> None:
    reply = await front(away).chat("x" * 1_100_000)
    assert (reply.status, reply.json["error"]["code"]) == (413, "request_too_large")


async def test_metrics_are_not_shown_to_the_world(front: Front, patient_proxy: ProxyProcess) -> None:
    assert (await front(patient_proxy.port).ask("GET", "/metrics")).status == 404
