"""What both servers hold against clients that are slow, large, wrong or gone, and what they are to all others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import uvloop
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler, stream_request_body

from streamproxy.connections import bounds, occupancy, sockets
from streamproxy.serving import DirectServer, ProxyServer
from tests.e2e.facts import until

PATIENCE = 20
HOST = b"Host: x\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
CLOSING = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Options:
    """What the socket of a request has: milliseconds, bytes."""

    user_timeout: int
    keep_alive: bool
    no_delay: bool
    buffer: int


@dataclass(slots=True)
class Seen:
    """What handlers saw."""

    # Of every request, in the order they were answered: method, path, body.
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    remote: list[tuple[str | None, str]] = field(default_factory=list)
    accepted: list[socket.socket] = field(default_factory=list)
    options: list[Options] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    written: int = 0
    # Whether a write was left to wait.
    waited: bool = False


class Hello(RequestHandler):
    """Its body is read before it begins."""

    def initialize(self, seen: Seen) -> None:
        self.seen = seen

    def get(self) -> None:
        request = self.request
        self.seen.requests.append((str(request.method), str(request.uri), request.body))
        self.seen.remote.append((request.remote_ip, request.protocol))
        self.seen.options += [options(sock) for sock in self.seen.accepted]
        self.write("hello")

    post = put = delete = head = get

    def compute_etag(self) -> None:
        """Not of interest."""


@stream_request_body
class Upload(Hello):
    """Its body is handed to it as it comes; each piece has to be waited for."""

    def prepare(self) -> None:
        self.body = b""
        self.request.connection.set_max_body_size(1000)  # type: ignore[union-attr]
        self.seen.began.set()

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.body += chunk

    def post(self) -> None:
        self.seen.requests.append(("POST", self.request.path, self.body))
        self.write(self.body)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.seen.left.set()


@stream_request_body
class Refusing(Upload):
    def prepare(self) -> None:
        self.set_status(403)
        self.finish("no")


class Waiting(Hello):
    """Answers when it may, and hears when its client leaves."""

    async def get(self) -> None:
        self.seen.began.set()
        await self.seen.go_on.wait()
        self.write("late")

    def on_connection_close(self) -> None:
        self.seen.left.set()


class Flood(Hello):
    """Writes more than anybody keeps, and waits for each piece to be taken."""

    async def get(self) -> None:
        self.seen.began.set()
        for _ in range(200):
            self.write(b"x" * 100_000)
            taken = self.flush()
            self.seen.waited |= not taken.done()
            await taken
            self.seen.written += 100_000

    def on_connection_close(self) -> None:
        self.seen.left.set()


class Site:
    """A server of ours with pages, and the port it is at."""

    def __init__(self, kind: type[ProxyServer | DirectServer]) -> None:
        sock, self.port = bind_unused_port()
        self.seen = Seen()
        given = {"seen": self.seen}
        pages = [
            ("/upload", Upload, given),
            ("/refusing", Refusing, given),
            ("/waiting", Waiting, given),
            ("/flood", Flood, given),
            ("/.*", Hello, given),
        ]
        application = Application(pages, log_function=lambda _: None)
        self.server = kind(application, trusted_proxies=("10.0.0.1",))
        self.server.add_sockets([sock])

    async def tell(self, *parts: bytes, pause: float = 0.0) -> bytes:
        """What it answers to *parts* until it closes; TimeoutError when it never does."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                if reader.at_eof() or writer.is_closing():
                    break
                writer.write(part)
                await asyncio.sleep(pause)
            async with asyncio.timeout(PATIENCE):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()

    async def close(self) -> None:
        self.server.stop()
        self.seen.go_on.set()
        await self.server.close_all_connections()


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """The loop that the server runs on in earnest."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    tornado_loop = IOLoop(asyncio_loop=loop, make_current=False)
    yield tornado_loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    tornado_loop.close(all_fds=False)
    asyncio.set_event_loop(None)


@pytest.fixture(params=[DirectServer, ProxyServer], ids=["direct", "tornado"])
def site(request: pytest.FixtureRequest, io_loop: IOLoop) -> Iterator[Site]:
    async def made() -> Site:
        return Site(request.param)

    found = io_loop.run_sync(made)
    assert found is not None
    yield found
    io_loop.run_sync(found.close)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of time are tenths of seconds; which they are in earnest is asserted below."""
    monkeypatch.setattr(bounds, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(bounds, "BODY_SECONDS", 0.3)


def options(sock: socket.socket) -> Options:
    return Options(
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        keep_alive=bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
        no_delay=bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
        buffer=sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
    )


def test_the_limits_are_those_of_the_documents() -> None:
    """Idle longer than nginx keeps a connection (30 s), a body within half a minute, 16 KiB of header."""
    assert (bounds.IDLE_SECONDS, bounds.BODY_SECONDS, bounds.MAX_HEADER_SIZE) == (75, 30, 16384)
    assert (sockets.USER_TIMEOUT_MS, sockets.SEND_BUFFER) == (20_000, 131_072)
    assert occupancy.LINGER_SECONDS == 6


# -- sockets ------------------------------------------------------------------------------------------------


async def test_every_request_of_a_connection_has_the_sockets_options(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time limit for unacknowledged data, keep-alive, a bounded buffer, and no Nagle: neither first nor later.

    Tornado itself switches Nagle's algorithm on again when a request ends.
    """
    real = sockets.prepare

    def spy(sock: socket.socket) -> None:
        real(sock)
        site.seen.accepted.append(sock)

    for module in ("streamproxy.connections.server", "streamproxy.serving"):
        monkeypatch.setattr(f"{module}.prepare", spy)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    for _ in range(3):
        writer.write(GET)
        await asyncio.wait_for(reader.readuntil(b"hello"), PATIENCE)
    writer.close()
    # Linux reports twice the buffer that was asked for.
    wanted = Options(sockets.USER_TIMEOUT_MS, keep_alive=True, no_delay=True, buffer=2 * sockets.SEND_BUFFER)
    assert site.seen.options == [wanted] * 3


# -- refused --------------------------------------------------------------------------------------------------


async def test_a_header_over_the_bound_is_refused(site: Site) -> None:
    """Without an answer: who sends 16 KiB of header is no client of ours."""
    assert await site.tell(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * bounds.MAX_HEADER_SIZE + b"\r\n\r\n") == b""


async def test_a_header_below_the_bound_is_read(site: Site) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: "
    assert b"hello" in await site.tell(head + b"y" * (bounds.MAX_HEADER_SIZE - 200) + b"\r\n\r\n")


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET / HTTP/1.1\r\nHo", b"s", b"t", b":", b" ", b"x"],
        [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", b"1", b"2", b"3"],
        [b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n", b"a", b"\r", b"\n"],
        [GET],
        [],
    ],
    ids=["a head that drips", "a body that drips", "chunks that drip", "nothing more", "nothing"],
)
async def test_who_takes_too_long_is_closed(impatient: None, site: Site, parts: list[bytes]) -> None:
    """A drip prolongs nothing: the limits are for the whole head, the whole body, the whole pause."""
    answer = await site.tell(*parts, pause=0.1)
    assert b"500" not in answer


async def test_a_running_request_is_not_idle(impatient: None, site: Site) -> None:
    """It lasts three times as long as a pause may."""
    asyncio.get_running_loop().call_later(0.9, site.seen.go_on.set)
    assert (await site.tell(CLOSING.replace(b"/ ", b"/waiting "))).endswith(b"late")


BODY = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = BODY + b"Transfer-Encoding: chunked\r\n\r\n"
WRONG = {
    "length and chunks": BODY + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": BODY + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    "two lengths in one": BODY + b"Content-Length: 5, 6\r\n\r\nabcde",
    "xchunked": BODY + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "another coding first": BODY + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": BODY + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": BODY + b"Transfer-Encoding: identity\r\n\r\n",
    "+5": BODY + b"Content-Length: +5\r\n\r\nabcde",
    "-5": BODY + b"Content-Length: -5\r\n\r\nabcde",
    "0x5": BODY + b"Content-Length: 0x5\r\n\r\nabcde",
    "no length": BODY + b"Content-Length:\r\n\r\n",
    "a superscript": BODY + b"Content-Length: \xb2\r\n\r\nab",
    "a length of thirty digits": BODY + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "a length over the bound": BODY + b"Content-Length: 8388609\r\n\r\n",
    "an extension": CHUNKED + b"1;a=b\r\nx\r\n0\r\n\r\n",
    "a trailer": CHUNKED + b"1\r\nx\r\n0\r\nX: y\r\n\r\n",
    "a chunk of +1": CHUNKED + b"+1\r\nx\r\n0\r\n\r\n",
    "a chunk of 0x1": CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n",
    "a chunk of 1_0": CHUNKED + b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "a space behind a size": CHUNKED + b"1 \r\nx\r\n0\r\n\r\n",
    "no size": CHUNKED + b"\r\nx\r\n0\r\n\r\n",
    "a chunk that is longer": CHUNKED + b"1\r\nxy\r\n0\r\n\r\n",
    "a chunk over the bound": CHUNKED + b"800001\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "a folded first line": b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
    "a space before a colon": b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: x\r\nA\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
    "a name that is none": b"GET / HTTP/1.1\r\nHost: x\r\nA(b): c\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    "a CR in a value": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n",
    "a control character": b"GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "a host that is none": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /\r\nHost: x\r\n\r\n",
    "HTTP/2": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "another protocol": b"DESCRIBE / RTSP/1.0\r\nHost: x\r\n\r\n",
    "a NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a tab in the target": b"GET /a\tb HTTP/1.1\r\nHost: x\r\n\r\n",
    "an empty request": b"\r\n\r\n" + GET,
    "TLS": b"\x16\x03\x01\x02\x00\x01\n\n",
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_what_is_no_sound_request_is_refused(site: Site, wrong: bytes) -> None:
    """400 and the end of the connection: what follows is never taken for a request."""
    assert await site.tell(wrong + GET) == REFUSAL
    assert site.seen.requests == []


@pytest.mark.parametrize("wrong", [b"Content-Length: 1001\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n"])
async def test_a_body_over_the_handlers_bound_is_refused(site: Site, wrong: bytes) -> None:
    """It has chosen one before the body is read."""
    assert await site.tell(b"POST /upload HTTP/1.1\r\nHost: x\r\n" + wrong) == REFUSAL
    await asyncio.wait_for(site.seen.left.wait(), PATIENCE)


async def test_a_wrong_request_behind_a_sound_one_is_refused_after_its_answer(site: Site) -> None:
    answer = await site.tell(GET + WRONG["a NUL"])
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"hello" + REFUSAL)


# -- answered -------------------------------------------------------------------------------------------------

PIPELINE = (
    b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
    b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    b"\r\nPUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n"
    b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"
    b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
    b"DELETE /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
)
ASKED = [
    *(("GET", "/a?b=c", b""), ("POST", "/b", b"abc"), ("PUT", "/c", b"abc0123456789"), ("POST", "/upload", b"abcde")),
    *(("POST", "/upload", b"def"), ("DELETE", "/d", b"")),
]


@pytest.mark.parametrize("size", [len(PIPELINE), 1, 7])
async def test_requests_of_one_connection_are_answered_one_after_another(site: Site, size: int) -> None:
    """However they are cut: whole, byte by byte, in sevens."""
    parts = [PIPELINE[at : at + size] for at in range(0, len(PIPELINE), size)]
    answers = await site.tell(*parts)
    assert site.seen.requests == ASKED
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == len(ASKED)
    assert answers.count(b"Connection: close\r\n") == 1


async def test_a_method_that_nobody_registered_is_the_applications_to_refuse(site: Site) -> None:
    assert (await site.tell(b"FOO / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).startswith(b"HTTP/1.1 405 ")


async def test_a_protocol_that_we_do_not_know_is_not_taken(site: Site) -> None:
    """A request to upgrade is answered as if it did not ask for it, and its body is read."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc"
    assert (await site.tell(head + CLOSING)).count(b"hello") == 2
    assert site.seen.requests == [("POST", "/", b"abc"), ("GET", "/", b"")]


async def test_head_has_a_length_and_no_body(site: Site) -> None:
    answer = await site.tell(CLOSING.replace(b"GET", b"HEAD"))
    assert b"Content-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("head", "answers"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", 1),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 2),
        (b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 1),
        (b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", 2),
    ],
)
async def test_http_1_0_lasts_where_it_asks_to(site: Site, head: bytes, answers: int) -> None:
    """And where the end of its body is known. It needs no host."""
    said = await site.tell(head + CLOSING)
    assert said.count(b"hello") == answers
    assert said.count(b"Keep-Alive") == (1 if answers == 2 else said.count(b"Keep-Alive"))


async def test_who_waits_for_leave_to_send_a_body_gets_it(site: Site) -> None:
    """RFC 9110, section 10.1.1."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(BODY + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)).startswith(b"HTTP/1.1 100 ")
    writer.write(b"abc")
    await asyncio.wait_for(reader.readuntil(b"hello"), PATIENCE)
    writer.close()
    assert site.seen.requests == [("POST", "/", b"abc")]


async def test_an_answer_before_the_body_ends_the_connection(site: Site) -> None:
    """The rest is not read, so nobody knows where the next request would begin."""
    answer = await site.tell(b"POST /refusing HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.endswith(b"no")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (b"", ("127.0.0.1", "http")),
        (b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n", ("1.2.3.4", "https")),
        (b"X-Forwarded-For: 5.6.7.8, 1.2.3.4, 10.0.0.1\r\n", ("1.2.3.4", "http")),
        (b"X-Forwarded-For: 10.0.0.1, 10.0.0.1\r\n", ("10.0.0.1", "http")),
        (b"X-Forwarded-For: 1.2.3.4\r\nX-Real-Ip: 2001:db8::1\r\n", ("2001:db8::1", "http")),
        (b"X-Forwarded-For: nobody\r\nX-Scheme: gopher\r\n", ("127.0.0.1", "http")),
        (b"X-Scheme: http, https\r\n", ("127.0.0.1", "https")),
    ],
)
@pytest.mark.parametrize("target", [b"/", b"/?a=b"])
async def test_the_proxies_in_front_say_where_a_request_comes_from(
    site: Site, target: bytes, fields: bytes, told: tuple[str, str]
) -> None:
    """Of X-Forwarded-For the last that is no trusted proxy. It holds for one request, not for the connection."""
    first = b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (target, fields)
    await site.tell(first + CLOSING)
    assert site.seen.remote == [told, ("127.0.0.1", "http")]


# -- gone, and behind -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
async def test_a_handler_hears_at_once_that_its_client_left(site: Site, reset: bool) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(GET.replace(b"/ ", b"/waiting "))
    await asyncio.wait_for(site.seen.began.wait(), PATIENCE)
    if reset:
        writer.transport.abort()
    else:
        writer.close()
    await asyncio.wait_for(site.seen.left.wait(), PATIENCE)
    await asyncio.wait_for(site.server.wait_until_idle(), PATIENCE)


async def test_a_handler_hears_that_its_client_left_while_it_sends_a_body(site: Site) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab")
    await asyncio.wait_for(site.seen.began.wait(), PATIENCE)
    writer.close()
    await asyncio.wait_for(site.seen.left.wait(), PATIENCE)
    assert site.seen.requests == []


async def test_a_writer_waits_for_a_client_that_reads_slowly(site: Site) -> None:
    """All of twenty megabytes arrives; what nobody has taken is bounded."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1 << 16)
    writer.write(CLOSING.replace(b"/ ", b"/flood "))
    await asyncio.wait_for(site.seen.began.wait(), PATIENCE)
    size = 0
    async with asyncio.timeout(60):
        while data := await reader.read(1 << 16):
            size += len(data)
    assert size > 20_000_000
    assert site.seen.waited
    writer.close()


async def test_a_writer_is_freed_when_its_slow_client_leaves(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1 << 10)
    writer.write(GET.replace(b"/ ", b"/flood "))
    await asyncio.wait_for(reader.read(100), PATIENCE)
    writer.transport.abort()
    await asyncio.wait_for(site.seen.left.wait(), PATIENCE)
    await asyncio.wait_for(site.server.wait_until_idle(), PATIENCE)
    assert site.seen.written < 20_000_000


# -- stopping -------------------------------------------------------------------------------------------------


async def test_a_drain_waits_for_answers_and_closes_who_waits_for_none(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody new is let in, who is idle is closed after a while, who is answered is answered."""
    monkeypatch.setattr(occupancy, "LINGER_SECONDS", 0.1)
    idle_reader, idle = await asyncio.open_connection("127.0.0.1", site.port)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(GET.replace(b"/ ", b"/waiting "))
    await asyncio.wait_for(site.seen.began.wait(), PATIENCE)
    assert site.server.busy == 1
    draining = asyncio.create_task(site.server.drain(grace=PATIENCE, hurry=asyncio.Event()))
    assert await asyncio.wait_for(idle_reader.read(), PATIENCE) == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", site.port)
    assert not draining.done()
    site.seen.go_on.set()
    assert (await asyncio.wait_for(reader.read(), PATIENCE)).endswith(b"late")
    assert await asyncio.wait_for(draining, PATIENCE)
    for end in (idle, writer):
        end.close()


async def test_a_drain_in_a_hurry_cuts_nobody_and_says_that_somebody_is_left(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(GET.replace(b"/ ", b"/waiting "))
    await asyncio.wait_for(site.seen.began.wait(), PATIENCE)
    hurry = asyncio.Event()
    hurry.set()
    assert not await site.server.drain(grace=PATIENCE, hurry=hurry)
    await site.server.close_all_connections()
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    assert site.seen.left.is_set()
    writer.close()


# -- what waits behind a running request ----------------------------------------------------------------------


@pytest.mark.parametrize("site", [DirectServer], indirect=True, ids=["direct"])
@pytest.mark.parametrize("size", [1, 100_000], ids=["a byte", "more than is read"])
async def test_a_client_that_leaves_is_noticed_whatever_it_sent_before(
    site: Site, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """What is pipelined waits up to a bound; beyond it the socket is not read, and the kernel is asked."""
    monkeypatch.setattr(bounds, "PULSE_SECONDS", 0.05)
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(GET.replace(b"/ ", b"/waiting "))
    await asyncio.wait_for(site.seen.began.wait(), PATIENCE)
    writer.write(b"G" * size)
    (connection,) = site.server.occupancy.all  # type: ignore[union-attr]
    await until(lambda: len(connection.unread) >= min(size, bounds.MAX_UNREAD), "what was sent is read")
    assert connection._paused == (size > bounds.MAX_UNREAD)
    assert not site.seen.left.is_set()
    writer.transport.abort()
    await asyncio.wait_for(site.seen.left.wait(), PATIENCE)


async def test_behind_a_large_body_of_waiting_requests_reading_goes_on(site: Site) -> None:
    """A thousand requests at once are a thousand answers: reading pauses, and never for good."""
    answers = await site.tell(GET.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 400 + b"\r\n\r\n") * 1000 + CLOSING)
    assert answers.count(b"hello") == 1001
