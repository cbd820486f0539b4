"""A short profile of every generator; ``make fuzz`` runs the long ones. A failure names its seed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import nullcontext
from random import Random

import pytest
from tornado.httputil import HTTPConnection, HTTPMessageDelegate

from streamproxy.serving import ProxyServer
from streamproxy.wire.sse import Decoder, Event
from tests.fuzz import http, json_bodies, raw, sse, through_nginx
from tests.fuzz.http import Heard, check
from tests.fuzz.http_reading import Message, read
from tests.fuzz.http_requests import CANARY, SMUGGLED
from tests.fuzz.report import Report
from tests.fuzz.served import REFUSED, check_refusals, served

SHORT: dict[str, tuple[Callable[[Report], None], int]] = {
    "sse": (sse.run, 12_000),
    "http": (http.run, 3_000),
    "nginx": (through_nginx.run, 300),
    "raw": (raw.run, 400),
    "json": (json_bodies.run, 500),
}
SHORT_BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: example\r\n\r\n"


@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_found(name: str) -> None:
    """No 500, no hang, bounded memory, one reading of every length and of every event, wherever it is cut."""
    run, count = SHORT[name]
    report = Report(name, count=count, seed=secrets.randbelow(1 << 32), quiet=True)
    try:
        run(report)
    except BaseException as found:
        found.add_note(f"repeat it with: python -m tests.fuzz {name} --count {count} --seed {report.seed}")
        raise
    assert report.done == count


# -- these generators and comparisons can find something ------------------------------------------------


class Forgetful(Decoder):
    """Takes the LF of a CRLF that was cut in two for a line of its own."""

    def feed(self, chunk: bytes) -> list[Event]:
        self._after_cr = False
        return super().feed(chunk)


def test_a_decoder_that_forgets_a_cr_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake that decoders make most: an event too many where CRLF meets the end of a packet."""
    monkeypatch.setattr(sse, "Decoder", Forgetful)
    with pytest.raises(AssertionError, match="instead of"):
        sse.run(Report("sse", count=12_000, seed=1, quiet=True))


def test_a_request_in_another_ones_body_is_found() -> None:
    """We read two requests where h11 reads one with a body."""
    whole = b"POST / HTTP/1.1\r\nHost: example\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED
    reading = read(whole + CANARY)
    assert [m.target for m in reading.messages] == ["/", "/canary"]
    with pytest.raises(AssertionError, match="we read Message"):
        check(whole, reading, Heard([Message("POST", "/", b""), Message("GET", "/smuggled", b"")]))


@pytest.mark.parametrize(
    ("whole", "heard", "found"),
    [
        (GET, Heard([]), "we wait"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n",
            Heard([Message("POST", "/", b"")]),
            "needs more",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            Heard([Message("POST", "/", b"GET /")]),
            "h11 refuses",
        ),
        (GET, Heard([Message("GET", "/", b"")], bytearray(b"HTTP/1.1 500 Oops\r\n\r\n")), "500"),
    ],
)
def test_a_disagreement_about_a_length_is_found(whole: bytes, heard: Heard, found: str) -> None:
    """A server that waits, takes less than was announced, believes one of two lengths, or breaks."""
    with pytest.raises(AssertionError, match=found):
        check(whole, read(whole), heard)


def test_zeros_before_a_chunk_size_are_no_disagreement() -> None:
    """h11 refuses more than twenty digits; the number that they spell is the same."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert not read(head + b"0" * 31 + b"\r\n\r\n").about_length
    assert read(head + b"0" * 31 + b"x\r\n\r\n").about_length


def test_both_servers_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that reads nothing at all would be found by the first request that h11 reads."""
    monkeypatch.setattr(http, "tell", _deaf)
    with pytest.raises(ExceptionGroup):
        http.run(Report("http", count=100, seed=1, quiet=True))


class Gullible(ProxyServer):
    """Loses the body of every request."""

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Bodiless(super().start_request(server_conn, request_conn))


class _Bodiless(HTTPMessageDelegate):
    def __init__(self, inner: HTTPMessageDelegate) -> None:
        self.headers_received = inner.headers_received  # type: ignore[method-assign]
        self.finish = inner.finish  # type: ignore[method-assign]
        self.on_connection_close = inner.on_connection_close  # type: ignore[method-assign]

    def data_received(self, chunk: bytes) -> None:
        """It goes nowhere."""


def test_what_nginx_sent_with_a_body_is_not_taken_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison looks at the bodies too."""
    monkeypatch.setattr(through_nginx, "ProxyServer", Gullible)
    monkeypatch.setattr(through_nginx, "PATIENCE_SECONDS", 1.5)
    with pytest.raises(AssertionError, match="did not send"):
        through_nginx.run(Report("nginx", count=100, seed=1, quiet=True))


def test_an_input_that_keeps_redis_busy_is_found() -> None:
    """Whatever became of the others meanwhile: Redis tells how long a command took it."""
    with pytest.raises(AssertionError, match="slow in Redis"):
        keep_redis_busy()


def keep_redis_busy() -> None:
    with served(Report("raw", count=0, seed=1)) as server, server.redis() as client:
        client.execute_command("DEBUG", "SLEEP", "0.15")  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("done", "refused", "too_many"), [(400, 20, False), (400, 21, True), (200_000, 4001, True)])
def test_refusals_are_believed_to_a_point(done: int, refused: int, *, too_many: bool) -> None:
    report = Report("raw", count=done, seed=1)
    report.done = done
    report.seen[REFUSED] = refused
    with pytest.raises(AssertionError) if too_many else nullcontext():
        check_refusals(report)


async def _deaf(*_arguments: object, **_named: object) -> Heard:
    await asyncio.sleep(0)
    return Heard()


def test_a_seed_repeats_its_inputs() -> None:
    """What was found once can be found again."""
    sound = json_bodies.ENDPOINTS[0][1]
    first, second = ([json_bodies.body(random, sound) for _ in range(50)] for random in (Random(7), Random(7)))
    assert first == second
