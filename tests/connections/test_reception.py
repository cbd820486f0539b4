"""Requests that are there as a whole go straight to their handlers, and to no other than Tornado would choose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from streamproxy.connections.handler import LeanHandler
from streamproxy.connections.server import DirectServer
from tests.e2e.facts import until


class Named(LeanHandler):
    """Says who it is, and what ran it."""

    def initialize(self, name: str = "nobody") -> None:
        self.name = name

    async def prepare(self) -> None:
        """There is nothing to prepare."""

    def data_received(self, chunk: bytes) -> None:
        self.name += chunk.decode()

    async def get(self, *parts: str, **named: str) -> None:
        way = "direct" if self.task is asyncio.current_task() else "Tornado's"
        self.finish(f"{way} {self.name} {parts} {named}")

    post = get


class Nowhere(Named):
    """Answers where nobody does."""


class Theirs(RequestHandler):
    """One that is not made for it."""

    def get(self) -> None:
        self.finish("theirs")

    post = get


def routes(*more: tuple[str, type[RequestHandler], dict[str, Any]]) -> list[Any]:
    return [*more, ("/a", Named, {"name": "a"}), ("/b/([a-z]+)", Named, {"name": "b"}), ("/c/(?P<d>.*)", Named)]


@asynccontextmanager
async def served(application: Application) -> AsyncIterator[DirectServer]:
    server = DirectServer(application, trusted_proxies=())
    sock, port = bind_unused_port()
    server.add_sockets([sock])
    server.port = port  # type: ignore[attr-defined]
    try:
        yield server
    finally:
        server.stop()
        await server.close_all_connections()


def application(**settings: Any) -> Application:
    return Application(
        [*routes(), ("/theirs", Theirs)], default_handler_class=Nowhere, log_function=lambda _: None, **settings
    )


async def body(server: DirectServer, path: str, *, host: str = "x", method: str = "GET", more: str = "") -> str:
    """What is answered, on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)  # type: ignore[attr-defined]
    writer.write(
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more or chr(13) + chr(10)}".encode()
    )
    data = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return data.partition(b"\r\n\r\n")[2].decode()


async def test_every_path_has_its_own_handler_the_first_time_and_later() -> None:
    async with served(application()) as server:
        for _ in range(2):
            assert await body(server, "/a") == "direct a () {}"
            assert await body(server, "/a?b=c") == "direct a () {}"
            assert await body(server, "/b/x") == "direct b ('x',) {}"
            assert await body(server, "/b/y") == "direct b ('y',) {}"
            assert await body(server, "/c/%C3%A4") == "direct nobody () {'d': 'ä'}"
            assert await body(server, "/nowhere") == "direct nobody () {}"
            assert await body(server, "/theirs") == "theirs"
        assert {*server.reception._by_path} == {"/a"}, "only what has no parts is known, and nothing that is made up"


async def test_where_hosts_differ_each_is_asked_for() -> None:
    both = application()
    both.add_handlers("y", [("/a", Named, {"name": "y"})])
    async with served(both) as server:
        for _ in range(2):
            assert await body(server, "/a") == "direct a () {}"
            assert await body(server, "/a", host="y") == "direct y () {}"


@pytest.mark.parametrize("settings", [{"compress_response": True}, {"cross_origin_protection": True}])
async def test_where_tornado_has_more_to_do_it_does_it(settings: dict[str, Any]) -> None:
    async with served(application(**settings)) as server:
        assert await body(server, "/a") == "Tornado's a () {}"


@pytest.mark.parametrize(
    ("more", "way"),
    [
        ("Content-Length: 4\r\n\r\nbody", "direct"),
        ("Content-Length: 0\r\n\r\n", "direct"),
        ("Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody", "Tornado's"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "Tornado's"),
    ],
)
async def test_a_body_that_has_to_be_waited_for_is_tornados(more: str, way: str) -> None:
    async with served(application()) as server:
        said = await body(server, "/a", method="POST", more=more)
        assert f"{way} a" in said
        assert ("body" in said) == ("body" in more)


async def test_one_after_another_on_one_connection_in_their_order() -> None:
    """Whatever way each of them takes."""
    pieces = [
        "GET /b/x HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none",
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n",
        "GET /theirs HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nthree",
    ]
    said = "".join(pieces).encode()
    async with served(application()) as server:
        for size in (len(said), 1, 7, 40):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)  # type: ignore[attr-defined]
            for at in range(0, len(said), size):
                writer.write(said[at : at + size])
                await asyncio.sleep(0)
            answers = (await asyncio.wait_for(reader.read(), 20)).decode()
            writer.close()
            places = [answers.index(word) for word in ("b ('x',)", "aone", "atwo", "theirs", "athree")]
            assert places == sorted(places)


async def until_left(server: DirectServer, left: int) -> None:
    """Wait until *left* bytes of the body of the one request are still to come."""

    def read() -> bool:
        intakes = [connection._intake for connection in server.occupancy.all]
        return [intake._body for intake in intakes if intake is not None] == [left]

    await until(read, f"all but {left} bytes have been read", 10)


async def test_a_body_that_is_on_its_way_is_handed_over_when_all_has_come() -> None:
    async with served(application()) as server:
        for path, expected in (("/a", "direct aone, two, three () {}"), ("/theirs", "theirs")):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)  # type: ignore[attr-defined]
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 15\r\n\r\n"
            for piece, left in ((head, 15), ("one, ", 10), ("two, ", 5)):
                writer.write(piece.encode())
                await until_left(server, left)
                assert not server.reception._running, "nothing runs while it waits"
            writer.write(b"three")
            assert (await asyncio.wait_for(reader.read(), 20)).endswith(expected.encode())
            writer.close()


async def test_who_leaves_in_the_middle_of_a_body_is_forgotten() -> None:
    async with served(application()) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)  # type: ignore[attr-defined]
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\none")
        await until(lambda: server.occupancy.busy == 1, "it has come", 10)
        [connection] = server.occupancy.all
        writer.transport.abort()
        await until(lambda: server.occupancy.count == 0, "the client has left", 10)
        assert connection._intake is None
        assert not server.reception._running


class Slow(LeanHandler):
    """Prepares for as long as the test likes."""

    def initialize(self, began: asyncio.Event, go_on: asyncio.Event, ran: list[str]) -> None:
        self.began, self.go_on, self.ran = began, go_on, ran

    async def prepare(self) -> None:
        self.began.set()
        await self.go_on.wait()

    async def get(self) -> None:
        self.ran.append("get")


async def test_who_leaves_before_the_method_began_is_not_answered() -> None:
    """Nothing is done for them, and nothing of them is kept."""
    began, go_on, ran = asyncio.Event(), asyncio.Event(), list[str]()
    given = {"began": began, "go_on": go_on, "ran": ran}
    async with served(Application(routes(("/slow", Slow, given)))) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)  # type: ignore[attr-defined]
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await began.wait()
        assert len(server.reception._running) == 1
        writer.transport.abort()
        await until(lambda: server.occupancy.count == 0, "the client has left", 10)
        go_on.set()
        await until(lambda: not server.reception._running, "the handler has ended", 10)
        assert ran == []
