"""Mutated requests, read by our servers and by h11: they may differ in what they refuse, never in a message's length.

Each input is followed by a canary request. A server that saw another body than h11, or a request more or less, has
been smuggled past. Whatever h11 refuses for its length must be refused.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tornado.iostream import IOStream
from tornado.web import Application, RequestHandler

from streamproxy.connections.server import DirectServer
from streamproxy.serving import ProxyServer
from tests.fuzz.http_reading import Message, Reading, read
from tests.fuzz.http_requests import CANARY, pieces, request
from tests.fuzz.report import Report

AT_ONCE: Final = 16
# A server that has not answered what is complete by then hangs; one that owes nothing is left alone sooner.
HANG_SECONDS: Final = 20.0
QUIET_SECONDS: Final = 0.02
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
AnyServer = ProxyServer | DirectServer


class Echo(RequestHandler):
    """Takes down what it was asked, under any method and path."""

    def initialize(self) -> None:
        request = self.request
        seen: list[Message] = request.connection.context.address[0]  # type: ignore[union-attr]
        seen.append(Message(str(request.method), str(request.uri), request.body))

    def prepare(self) -> None:
        self.finish()


def servers() -> dict[str, AnyServer]:
    """Every server that we ship, by a name for the report."""
    application = Application([(r".*", Echo)], log_function=lambda _handler: None)
    return {
        "tornado": ProxyServer(application, trusted_proxies=()),
        "direct": DirectServer(application, trusted_proxies=()),
    }


def let_in(server: AnyServer, sock: socket.socket, address: object) -> None:
    """As if *sock* had just been accepted."""
    if isinstance(server, ProxyServer):
        server.handle_stream(IOStream(sock), address)
    else:
        server.handle(sock, address)


@dataclass(slots=True)
class Heard:
    """What a server made of an input: the requests it saw, the bytes it sent, whether it closed."""

    messages: list[Message] = field(default_factory=list)
    sent: bytearray = field(default_factory=bytearray)
    closed: bool = False

    @property
    def statuses(self) -> list[bytes]:
        return _STATUS.findall(bytes(self.sent))

    @property
    def refused(self) -> bool:
        return self.closed or b"400" in self.statuses


async def tell(server: AnyServer, parts: Sequence[bytes], *, owes: bool, quiet: float = QUIET_SECONDS) -> Heard:
    """Send *parts* on a new connection. *owes*: an answer is due, and waited for; else *quiet* seconds are enough."""
    heard = Heard()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    let_in(server, theirs, (heard.messages, 0))
    loop = asyncio.get_running_loop()
    try:
        for part in parts:
            await loop.sock_sendall(ours, part)
            await asyncio.sleep(0)
        async with asyncio.timeout(HANG_SECONDS if owes else quiet):
            while data := await loop.sock_recv(ours, 1 << 16):
                heard.sent += data
        heard.closed = True
    except TimeoutError:
        assert not owes, "hangs"
    except (BrokenPipeError, ConnectionResetError):
        heard.closed = True
    finally:
        ours.close()
    return heard


def check(whole: bytes, reading: Reading, heard: Heard) -> str:
    """How the two readings compare, in a word; AssertionError where they disagree about a length."""
    ours, theirs = heard.messages, reading.messages
    both = min(len(ours), len(theirs))
    for mine, other in zip(ours, theirs, strict=False):
        assert mine == other, f"{whole!r}: we read {mine}, h11 {other}"
    assert b"500" not in heard.statuses, f"{whole!r}: 500"
    if len(ours) > len(theirs):
        assert reading.outcome != "incomplete", f"{whole!r}: we read {ours[both]} where h11 needs more"
        if reading.outcome == "refused":
            assert not reading.about_length, f"{whole!r}: we read {ours[both]}, h11 refuses: {reading.why}"
            return "laxer"
        return "kept alive"
    if len(ours) < len(theirs):
        assert heard.refused, f"{whole!r}: we wait where h11 read {theirs[both]}"
        return "stricter"
    return "same"


def run(report: Report) -> None:
    """Requests until the report has enough, at every server."""
    asyncio.run(_run(report))


async def _run(report: Report) -> None:
    inputs = report.inputs()
    named = servers()

    async def work() -> None:
        for _ in inputs:
            whole = request(report.random)
            parts = [*pieces(report.random, whole), CANARY]
            reading = read(whole + CANARY)
            for name, server in named.items():
                report.seen[f"{name} {await judged(server, whole, parts, reading)}"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


async def judged(server: AnyServer, whole: bytes, parts: Sequence[bytes], reading: Reading) -> str:
    """``check`` of what the server makes of *parts*; it is given time before it is found to wait."""
    owes = _owes(reading)
    try:
        return check(whole, reading, await tell(server, parts, owes=owes))
    except AssertionError:
        return check(whole, reading, await tell(server, parts, owes=owes, quiet=HANG_SECONDS))


def _owes(reading: Reading) -> bool:
    """Whether a canary was read behind the input, so that the connection must end by itself."""
    return bool(reading.messages) and reading.messages[-1].target == "/canary"
