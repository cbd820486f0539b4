"""A handler on a connection of ours is, for whoever uses it, the one that the installed Tornado makes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tornado.httputil import HTTPServerRequest
from tornado.testing import bind_unused_port
from tornado.web import Application, HTTPError, RequestHandler

from streamproxy.connections import handler as lean
from streamproxy.connections.answer import Answer
from streamproxy.connections.connection import Connection
from streamproxy.connections.handler import LeanHandler
from streamproxy.connections.head import parse
from streamproxy.connections.letterhead import Letterhead
from streamproxy.connections.origin import Peer
from streamproxy.serving import make_server
from tests.handlers.worker import serving

HEAD = b"%b %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
BOTH = pytest.mark.parametrize("shortcuts", [True, False], ids=["ours", "Tornado's"])


ALWAYS = {"X-Always": "1", "Cache-Control": "no-store"}
LETTERHEAD = Letterhead({**ALWAYS, "Content-Type": "text/event-stream", "Cache-Control": "no-cache"})


class Asked(LeanHandler):
    """Does what its body says."""

    always = ALWAYS

    async def prepare(self) -> None:
        self.said = getattr(self, "said", b"")
        if self.request.path == "/refused":
            raise HTTPError(403)
        if self.request.path == "/done":
            self.finish("done early")

    def data_received(self, chunk: bytes) -> None:
        self.said = getattr(self, "said", b"") + chunk

    def own_fields(self) -> Mapping[str, str]:
        return {"X-Own": "1"}

    async def post(self, part: str = "") -> None:
        self.set_headers({"X-Part": part, "X-Said": self.said.decode("latin-1")})
        self.finish(self.said)

    async def put(self) -> None:
        self.set_headers({"X-Asked": self.said.decode("latin-1")})
        self.open(b"one,")
        self.open(b"two")
        self.end()

    async def options(self) -> None:
        if self.said == b"status":
            self.set_status(202)
        if self.said == b"cookie":
            self.set_cookie("a", "b")
        if self.said == b"field":
            self.set_header("X-Field", "1")
        if self.said == b"written":
            self.write(b"zero,")
        if self.said == b"twice":
            self.stream(LETTERHEAD, {}, b"before,")
        said = self.said.decode("latin-1")
        self.stream(LETTERHEAD, {"X-Asked": said, "x-asked-BY": "", "X-Always": "2"}, b"one,")
        self.open(b"two")
        self.end()

    async def patch(self) -> None:
        self.set_cookie("a", "b")
        self.open(b"")
        self.end()

    async def delete(self) -> None:
        raise LookupError(self.said)

    async def get(self) -> None:
        self.end()

    async def head(self) -> None:
        if self.said == b"foreign":
            # Cancelled is what it waits for, and not itself.
            waiting = asyncio.get_running_loop().create_future()
            waiting.cancel()
            await waiting
        running = asyncio.current_task()
        assert running is not None
        running.cancel()
        await asyncio.sleep(1)

    def log_exception(self, *_: object) -> None:
        """Of no interest."""


@asynccontextmanager
async def served(*, shortcuts: bool) -> AsyncIterator[int]:
    application = Application(
        [("/x/([a-z]+)/(?:.*)", Asked), ("/[xrd].*", Asked)], log_function=lambda _: None, default_handler_class=Asked
    )
    server = make_server(application, trusted_proxies=(), shortcuts=shortcuts)
    sock, port = bind_unused_port()
    server.add_sockets([sock])
    try:
        yield port
    finally:
        server.stop()
        await server.close_all_connections()


async def fetched(port: int, *pieces: bytes, read: asyncio.Event | None = None) -> bytes:
    """All bytes of an answer, its date cut out. Of *pieces* the next is sent when *read* tells of the one before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        if read is not None:
            read.clear()
        writer.write(piece)
        await writer.drain()
        if read is not None:
            await asyncio.wait_for(read.wait(), 20)
    data = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return re.sub(rb"Date: [^\r]+ GMT\r\n", b"", data)


def asking(body: bytes, method: bytes = b"POST", path: bytes = b"/x") -> bytes:
    return HEAD % (method, path, len(body)) + body


REQUESTS = {
    "body": asking(b"hello"),
    "none": asking(b""),
    "part": asking(b"hello", path=b"/x/abc/%20"),
    "refused": asking(b"hello", path=b"/refused"),
    "done": asking(b"hello", path=b"/done"),
    "unknown": asking(b"hello", path=b"/nowhere"),
    "streamed": asking(b"hello", method=b"PUT"),
    "unsafe": asking(b"a\r\nb: c", method=b"PUT"),
    "nul": asking(b"a\0", method=b"PUT"),
    "cookie": asking(b"", method=b"PATCH"),
    "failed": asking(b"hello", method=b"DELETE"),
    "method": asking(b"hello", method=b"BREW"),
    "cancelled": asking(b"", method=b"HEAD"),
    "cancelled elsewhere": asking(b"foreign", method=b"HEAD"),
    "nothing written": asking(b"", method=b"GET"),
    "query": asking(b"hello", path=b"/x?a=b"),
    "letterhead": asking(b"hello", method=b"OPTIONS"),
    "letterhead, all of latin-1": asking(b"\xe9\xff", method=b"OPTIONS"),
    "letterhead, unsafe": asking(b"a\r\nb: c", method=b"OPTIONS"),
    "letterhead, line feed": asking(b"a\nb: c", method=b"OPTIONS"),
    "letterhead, nul": asking(b"a\0", method=b"OPTIONS"),
    "letterhead, status": asking(b"status", method=b"OPTIONS"),
    "letterhead, cookie": asking(b"cookie", method=b"OPTIONS"),
    "letterhead, field": asking(b"field", method=b"OPTIONS"),
    "letterhead, written": asking(b"written", method=b"OPTIONS"),
    "letterhead, twice": asking(b"twice", method=b"OPTIONS"),
    "letterhead, HTTP/1.0": asking(b"hello", method=b"OPTIONS").replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_whatever_it_answers_is_what_it_answers_on_tornados_server(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its body is there with its head, or comes later."""
    read, receive = asyncio.Event(), Connection.data_received

    def received(connection: Connection, data: bytes) -> None:
        receive(connection, data)
        read.set()

    whole = REQUESTS[name]
    end = whole.index(b"\r\n\r\n") + 4
    pieces = [whole[:end], whole[end:]] if len(whole) > end else [whole[:9], whole[9:]]
    async with served(shortcuts=True) as ours, served(shortcuts=False) as theirs:
        expected = await fetched(theirs, whole)
        # Chunks are cut as it comes; what is in them is the same.
        assert fields(await fetched(ours, whole)) == fields(expected)
        assert fields(await fetched(ours, whole)) == fields(expected), "the way is known"
        monkeypatch.setattr(Connection, "data_received", received)
        assert fields(await fetched(ours, *pieces, read=read)) == fields(expected)


def fields(answer: bytes) -> tuple[bytes, list[bytes], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *others = head.split(b"\r\n")
    return first, sorted(others), body


def on_ours(application: Application) -> HTTPServerRequest:
    class Line:
        peer = Peer(("1.2.3.4", 5), "1.2.3.4", ())
        loop = None

    head = parse(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
    return HTTPServerRequest(start_line=head.line, headers=head.headers, connection=Answer(Line(), head))  # type: ignore[arg-type]


def test_whatever_tornado_sets_is_the_same() -> None:
    application = Application()
    request = on_ours(application)
    ours, theirs = LeanHandler(application, request), RequestHandler(application, request)
    theirs.clear_header("Server")
    theirs._break_cycles()
    said = vars(theirs).keys() - {"_headers"}
    assert said - {"ui"} >= {
        "_headers_written",
        "_finished",
        "_auto_finish",
        "_prepared_future",
        "_status_code",
        "_reason",
    }
    assert {name: getattr(ours, name) for name in said} == {name: getattr(theirs, name) for name in said}
    assert ours._headers.keys() == theirs._headers.keys()
    assert ours._headers["Content-Type"] == theirs._headers["Content-Type"]
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", ours._headers["Date"])
    ours.clear()
    assert ours._headers.keys() == theirs._headers.keys()


def test_another_tornado_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then handlers are as it makes them."""
    assert lean._known()
    real = RequestHandler.clear

    def clear(self: RequestHandler) -> None:
        real(self)
        self._trailers = {}  # type: ignore[attr-defined]

    monkeypatch.setattr(RequestHandler, "clear", clear)
    assert not lean._known()
    monkeypatch.setattr(LeanHandler, "lean", False)
    application = Application()
    assert "_trailers" in vars(LeanHandler(application, on_ours(application)))


@BOTH
async def test_who_is_unknown_to_this_tornado_answers_all_the_same(
    shortcuts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LeanHandler, "lean", False)
    async with served(shortcuts=shortcuts) as port:
        assert b"X-Own: 1" in await fetched(port, asking(b"hello"))


@BOTH
async def test_nor_do_our_own_handlers_need_it(
    shortcuts: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(LeanHandler, "lean", False)
    async with serving(tmp_path, shortcuts=shortcuts) as port:
        answer = await fetched(port, asking(b"", method=b"GET", path=b"/healthz"))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"X-Request-Id: req_" in answer
        assert (await fetched(port, asking(b"{}", path=b"/v1/chat/completions"))).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\0", "\u20ac", "\x7f"])
def test_no_value_of_a_field_can_be_more_than_one(value: str) -> None:
    application = Application()
    handler = LeanHandler(application, on_ours(application))
    with pytest.raises(ValueError, match="Unsafe"):
        handler.set_header("X", value)
    with pytest.raises(ValueError, match="Unsafe"):
        handler.set_headers({"A": "b", "X": value, "C": "d"})
    assert "A" not in handler._headers
    handler.set_headers({"A": "\tb\xff ~"})
    assert handler._headers["A"] == "\tb\xff ~"
