"""Through two nginx hops, TLS and HTTP/2 outside: every event on its way at once, a cut seen as a cut."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
from tornado.ioloop import IOLoop

from tests.nginx.conftest import Hops
from tests.nginx.tls import TlsClient
from tests.streams.events import ending, numbers, open_events, start, text
from tests.support.certificate import make_certificate
from tests.support.http import DONE, Client, Connection
from tests.support.nginx import SHIPPED, Nginx, configured, edge, inner
from tests.support.processes import free_port
from tests.support.steps import Answer, Step, done, drop, fin, finish, gate, reply, say, stall
from tests.support.upstream import ScriptedUpstream

EVENTS = 40
# What two hops and a worker may add to an event's way, measured at its two ends, which are both in this process.
WAY_SECONDS = 0.05


class PingPong:
    """An upstream that says its next word only when the last one has reached the client."""

    def __init__(self) -> None:
        self._seen = asyncio.Event()
        self._left: list[float] = []
        self.ways: list[float] = []

    def step(self) -> Step:
        async def play(answer: Answer) -> None:
            for number in range(EVENTS):
                self._seen.clear()
                self._left.append(asyncio.get_running_loop().time())
                await say(f"{number} ")(answer)
                await self._seen.wait()

        return play

    def seen(self) -> None:
        """The newest event has arrived."""
        self.ways.append(asyncio.get_running_loop().time() - self._left[-1])
        self._seen.set()


async def play(client: Client, upstream: ScriptedUpstream) -> PingPong:
    """One stream whose every event waits for the one before; TimeoutError where a hop holds one back."""
    game = PingPong()
    upstream.once(game.step(), finish(), done())
    stream = await client.open_chat()
    assert (await stream.head()).status == 200
    async with asyncio.timeout(20):
        for number in range(EVENTS):
            assert f"{number} ".encode() in await stream.frame()
            game.seen()
        rest = [frame async for frame in stream.frames()]
    assert rest[-1] == DONE
    return game


async def test_every_event_arrives_before_the_next_one_is_said(outside: TlsClient, upstream: ScriptedUpstream) -> None:
    """And within 50 ms, the first one and the others: half of them at least, for this machine may be busy."""
    games = [await play(outside, upstream) for _ in range(3)]
    assert min(game.ways[0] for game in games) < WAY_SECONDS
    assert statistics.median(way for game in games for way in game.ways) < WAY_SECONDS


async def test_pauses_between_events_are_those_of_the_upstream(outside: TlsClient, upstream: ScriptedUpstream) -> None:
    """At a steady pace nothing is gathered on the way: no gap grows by more than 50 ms, the median of them."""
    left: list[float] = []

    async def steady(answer: Answer) -> None:
        for number in range(EVENTS):
            left.append(asyncio.get_running_loop().time())
            await say(f"{number} ")(answer)
            await asyncio.sleep(0.02)

    upstream.once(steady, finish(), done())
    stream = await outside.open_chat()
    await stream.head()
    came: list[float] = []
    while piece := await stream.piece():
        came += [asyncio.get_running_loop().time()] * piece.count(b"data: ")
    grown = [came[n + 1] - came[n] - (left[n + 1] - left[n]) for n in range(EVENTS - 1)]
    assert statistics.median(grown) < WAY_SECONDS


async def test_http_2_is_spoken_outside_and_holds_nothing_back(
    hops: Hops, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """The real curl: it has the first words while the upstream still waits for the test."""
    the_rest = asyncio.Event()
    upstream.once(say("first"), gate(the_rest), say("last"), finish(), done())
    body = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    secret = tmp_path / "header"
    secret.write_text(f"Authorization: Bearer {hops.proxy.bearer('tester')}\n")
    curl = await asyncio.create_subprocess_exec(
        *("curl", "-sSN", "--http2", "--cacert", str(hops.certificate), "-w", "%{stderr}%{http_version}"),
        *("-H", f"@{secret}", "-H", "Content-Type: application/json", "-d", json.dumps(body)),
        f"https://127.0.0.1:{hops.edge.port}/v1/chat/completions",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert curl.stdout is not None
    assert b"first" in await asyncio.wait_for(curl.stdout.readuntil(b"\n\n"), 20)
    the_rest.set()
    out, err = await curl.communicate()
    assert out.endswith(DONE)
    assert (curl.returncode, err.strip()) == (0, b"2")


async def test_an_upstream_that_breaks_off_is_told_in_the_stream(
    outside: TlsClient, upstream: ScriptedUpstream
) -> None:
    upstream.once(say("first"), drop())
    stream = await outside.open_chat()
    await stream.head()
    frames = [frame async for frame in stream.frames()]
    assert json.loads(frames[-2][6:])["error"]["code"] == "upstream_disconnected"
    assert frames[-1] == DONE


Chain: TypeAlias = Callable[..., TlsClient]


@pytest.fixture
def chain(io_loop: IOLoop, tmp_path: Path, upstream_socket: socket.socket) -> Iterator[Chain]:
    """``chain(old=…)``: a client before both hops whose worker is the scripted upstream itself.

    The hop named *old*, ``inner`` or ``edge``, speaks HTTP/1.0 to the next one, as nginx does unless it is told.
    """
    near = inner(tmp_path / "inner", (upstream_socket.getsockname()[1],))
    far, certificate = edge(tmp_path / "edge", (near.port,))
    with ExitStack() as stack:

        def start(*, old: str | None = None) -> TlsClient:
            for name, nginx in (("inner", near), ("edge", far)):
                if name == old:
                    nginx.forget("proxy_http_version 1.1;")
                nginx.start()
                stack.callback(nginx.stop)
            client = TlsClient(far.port, None, certificate)
            stack.callback(client.close)
            return client

        yield start


@pytest.fixture
def bare(chain: Chain) -> TlsClient:
    """The chain as it is shipped."""
    return chain()


async def end_of(stream: Connection) -> None:
    """Read to the terminal chunk; ConnectionError where it is missing."""
    await stream.head()
    while await stream.piece():
        pass


@pytest.mark.parametrize("ends", [fin(), drop()], ids=["fin", "reset"])
async def test_a_worker_that_dies_in_mid_answer_is_seen_as_a_cut(
    bare: TlsClient, upstream: ScriptedUpstream, ends: Step
) -> None:
    """No hop makes a whole answer of half a one: the terminal chunk is missing."""
    upstream.once(say("first"), ends)
    with pytest.raises(ConnectionError):
        await end_of(await bare.open_chat())
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("hop", ["inner", "edge"])
async def test_a_hop_that_speaks_http_1_0_makes_a_cut_look_like_an_end(
    chain: Chain, upstream: ScriptedUpstream, hop: str
) -> None:
    """Why ``proxy_http_version 1.1`` stands there, and why the test above cannot pass without it."""
    upstream.once(say("first"), fin())
    await end_of(await chain(old=hop).open_chat())


async def test_a_question_is_not_asked_twice_by_either_hop(bare: TlsClient, upstream: ScriptedUpstream) -> None:
    upstream.script(drop())
    answer = await bare.chat()
    assert (answer.status, answer.json["error"]["code"], len(upstream.requests)) == (503, "server_away", 1)


async def test_a_reader_who_leaves_closes_the_upstream_through_both(
    outside: TlsClient, upstream: ScriptedUpstream
) -> None:
    upstream.once(say("first"), stall())
    stream = await outside.open_chat()
    await stream.head()
    await stream.piece()
    stream.leave()
    assert await asyncio.wait_for((await upstream.request()).left, 10) in {"fin", "reset"}


async def test_a_stream_is_resumed_through_both(outside: TlsClient, upstream: ScriptedUpstream) -> None:
    """The id goes out as a header through both hops, to whichever worker they choose; nothing is lost or doubled."""
    steps = [asyncio.Event() for _ in range(3)]
    script: list[Step] = [say("0 ")]
    for number, step in enumerate(steps, 1):
        script += [gate(step), say(f"{number} ")]
    upstream.once(*script, finish(), done())
    stream = await start(outside)
    events = (await (await open_events(outside, stream["events_url"])).until(1))[:1]
    for step in steps:
        reading = await open_events(outside, stream["events_url"], last_event_id=events[-1].id or "")
        step.set()
        events += (await reading.until(1))[:1]
        reading.connection.leave()
    last = await open_events(outside, stream["events_url"], last_event_id=events[-1].id or "")
    events += await last.to_the_end()
    assert numbers(events) == list(range(1, len(events) + 1))
    assert text(events) == "0 1 2 3 "
    assert ending(events)[0] == "done"


async def test_the_clients_address_comes_through_and_cannot_be_claimed(
    bare: TlsClient, upstream: ScriptedUpstream
) -> None:
    """Sign-ins are throttled by address: what the client says about it must not matter."""
    upstream.once(reply(200, {}))
    await bare.ask("POST", "/v1/chat/completions", {}, x_forwarded_for="6.6.6.6", x_real_ip="6.6.6.6")
    request = await upstream.request()
    assert request.header("X-Real-IP") == "127.0.0.1"
    assert "6.6.6.6" not in str(request.headers)


async def test_one_address_holds_twenty_connections_and_no_more(outside: TlsClient, upstream: ScriptedUpstream) -> None:
    upstream.script(say("first"), stall())
    streams = [await outside.open_chat() for _ in range(20)]
    assert {(await stream.head()).status for stream in streams} == {200}
    refused = await outside.chat()
    assert (refused.status, refused.head.get("Retry-After")) == (429, "5")
    assert refused.json["error"]["code"] == "too_many_connections"


# -- somebody else's nginx in front ------------------------------------------------------------------------------

PLAIN = """
server {{
    listen 127.0.0.1:{port} {tls};
    location / {{
        proxy_pass http://127.0.0.1:{inner};
        proxy_http_version {version};
        proxy_set_header X-Forwarded-For $remote_addr;
    }}
}}
"""


@pytest.fixture
def plain(io_loop: IOLoop, hops: Hops, tmp_path: Path) -> Iterator[Client]:
    """An nginx before the inner hop that nobody told about streams: it buffers, unless an answer asks it not to."""
    port = free_port()
    certificate, key = make_certificate(tmp_path)
    tls = f"ssl; ssl_certificate {certificate}; ssl_certificate_key {key}"
    nginx = Nginx(tmp_path / "plain", PLAIN.format(port=port, inner=hops.inner.port, version="1.1", tls=tls), port)
    nginx.start()
    client = TlsClient(port, hops.proxy.bearer("tester"), certificate)
    yield client
    client.close()
    nginx.stop()


async def test_an_nginx_in_front_that_buffers_is_told_not_to(plain: Client, upstream: ScriptedUpstream) -> None:
    """The inner hop hands on X-Accel-Buffering, which nginx would keep to itself."""
    await play(plain, upstream)


async def test_over_http_1_0_the_worker_says_what_is_wrong(
    io_loop: IOLoop, hops: Hops, tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """nginx's own default before a worker: one warning with the remedy, however often it is asked."""
    port = free_port()
    nginx = Nginx(tmp_path / "old", PLAIN.format(port=port, inner=hops.proxy.port, version="1.0", tls=""), port)
    nginx.start()
    client = Client(port, hops.proxy.bearer("tester"))
    try:
        for _ in range(3):
            assert (await client.ask("GET", "/v1/models")).status == 200
    finally:
        client.close()
        nginx.stop()
    said = [line for line in map(json.loads, hops.proxy.log().splitlines()) if "HTTP/1.0" in line["message"]]
    assert [line["level"] for line in said] == ["WARNING"]
    assert "proxy_http_version 1.1" in said[0]["message"]


# -- the command that writes it ---------------------------------------------------------------------------------


def test_configure_prints_what_is_shipped_unless_told_otherwise() -> None:
    def lines(configuration: str) -> list[str]:
        return [line.partition("  # here")[0] for line in configuration.splitlines()]

    assert lines(configured()) == lines((SHIPPED / "streamproxy.conf").read_text())


def test_configure_lists_every_worker_of_every_machine() -> None:
    printed = configured("--workers", "3", "--port", "9000", "--host", "10.0.0.1", "--host", "10.0.0.2")
    servers = [line.split()[1] for line in printed.splitlines() if line.startswith("    server ")]
    assert servers == [f"10.0.0.{machine}:{port}" for machine in (1, 2) for port in (9000, 9001, 9002)]


def test_nginx_accepts_the_edge_without_a_warning(tmp_path: Path) -> None:
    assert edge(tmp_path, (8080, 8081))[0].complaints() == ""


@pytest.mark.parametrize("options", [["--workers", "x"], ["--workers", "0"], ["--port", "65535"], ["--what"]])
def test_configure_says_what_is_wrong(options: list[str]) -> None:
    done = subprocess.run([SHIPPED / "configure", *options], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--help" in done.stderr
