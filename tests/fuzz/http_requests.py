"""Raw HTTP/1.1 requests: a sound one, then wrong in one to four ways that parsers are known to disagree about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

CANARY: Final = b"GET /canary HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n"
METHODS: Final = (b"POST", b"POST", b"POST", b"GET", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH")
TARGETS: Final = (b"/v1/chat/completions", b"/", b"/healthz", b"/v1/models?x=1", b"/v1/streams/x/events", b"/%00", b"*")
BODY: Final = b'{"model":"demo","messages":[{"role":"user","content":"hi"}]}'
# A second request inside the first one's body: whoever reads a shorter body runs it.
SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: example\r\n\r\n"
_BYTES: Final = b"\r\n\0\t :,;=\x0b\x0c\x7f\x80\xff0159aAfFzZ+-"


@dataclass(slots=True)
class Draft:
    """A request that can still be changed: *lines* are header lines without their end."""

    method: bytes
    target: bytes
    body: bytes
    version: bytes = b"HTTP/1.1"
    lines: list[bytes] = field(default_factory=lambda: [b"Host: example"])
    chunks: list[bytes] | None = None
    end: bytes = b"\r\n"
    lead: bytes = b""

    def encode(self) -> bytes:
        head = self.end.join([b" ".join((self.method, self.target, self.version)), *self.lines, b"", b""])
        return self.lead + head + (self.body if self.chunks is None else b"".join(self.chunks))


def draft(random: Random) -> Draft:
    """A sound request with no body, one by length, or one in chunks."""
    body = random.choice((b"", BODY, SMUGGLED, b"x" * 40))
    made = Draft(random.choice(METHODS), random.choice(TARGETS), body)
    if random.random() < 0.3:
        made.lines.append(b"Content-Type: application/json")
    if random.random() < 0.5:
        made.lines.append(b"Content-Length: %d" % len(body))
    elif random.random() < 0.8:
        made.lines.append(b"Transfer-Encoding: chunked")
        made.chunks = chunked(random, body)
    else:
        made.body = b""
    return made


def chunked(random: Random, body: bytes) -> list[bytes]:
    """*body* in chunks, each list entry one part of the coding."""
    parts: list[bytes] = []
    while body:
        size = random.randrange(1, len(body) + 1)
        parts += [b"%x" % size, b"\r\n", body[:size], b"\r\n"]
        body = body[size:]
    return [*parts, b"0", b"\r\n", b"\r\n"]


def _length(random: Random, made: Draft) -> None:
    n = len(made.body)
    texts = (
        *(b"%d" % (n + 1), b"%d" % max(n - 1, 0), b"+%d" % n, b"-%d" % n, b"0x%x" % n, b"0%d" % n, b"%d,%d" % (n, n)),
        *(
            b"%d, %d" % (n, n + 1),
            b"%d " % n,
            b" %d" % n,
            b"\t%d" % n,
            b"%d.0" % n,
            b"%de0" % n,
            b"",
            b"9" * 30,
            b"1_0",
        ),
        *(b"\xb2", b"%d;" % n, b"%d\0" % n, b"%d" % n, b"0", b"%d\x0b" % n),
    )
    names = (b"Content-Length", b"content-length", b"Content-Length ", b" Content-Length", b"Content_Length")
    line = random.choice(names) + random.choice((b": ", b":", b" :", b":\t")) + random.choice(texts)
    made.lines.insert(random.randrange(len(made.lines) + 1), line)


def _encoding(random: Random, made: Draft) -> None:
    texts = (
        *(
            b"chunked",
            b"Chunked",
            b"xchunked",
            b"chunked, chunked",
            b"identity",
            b"chunked, identity",
            b"gzip, chunked",
        ),
        *(
            b"identity, chunked",
            b"chunked;q=1",
            b"chunked\x0b",
            b"\x0bchunked",
            b" chunked",
            b"chunked ",
        ),
        *(b'"chunked"', b"chunked,", b",chunked", b"", b"chun ked", b"chunked\0", b"\xa0chunked", b"cow"),
    )
    names = (b"Transfer-Encoding", b"transfer-encoding", b"Transfer-Encoding ", b"Transfer_Encoding", b"TE")
    line = random.choice(names) + random.choice((b": ", b":", b" :", b":\t")) + random.choice(texts)
    made.lines.insert(random.randrange(len(made.lines) + 1), line)
    if made.chunks is None and random.random() < 0.5:
        made.chunks = chunked(random, made.body)


def _chunk(random: Random, made: Draft) -> None:
    if made.chunks is None:
        made.lines.append(b"Transfer-Encoding: chunked")
        made.chunks = chunked(random, made.body)
    place = random.randrange(len(made.chunks))
    part = made.chunks[place]
    sizes = (
        b"0x" + part,
        b"+" + part,
        b"-" + part,
        b" " + part,
        part + b" ",
        b"0" * 15 + part,
        part + b";a=b",
        b"f" * 17,
    )
    ends = (
        b"\n",
        b"\r",
        b"\r\r\n",
        b"",
        b"\n\n",
        b" \r\n",
        b";\r\n",
        b"\r\nX: y\r\n",
        b"\r\nContent-Length: 5\r\n\r\n",
    )
    made.chunks[place] = random.choice(
        ends if part == b"\r\n" else (*sizes, part.upper(), part + b"\n", part[:-1], b"1_0")
    )


def _header(random: Random, made: Draft) -> None:
    lines = (
        *(b"X: a\0b", b"X : y", b" X: y", b"X", b": y", b"X:", b"X\t: y", b"X: y\r", b"X: y\nZ: w", b"X: y\r Z: w"),
        *(b"X: a\r\n b", b"X: a\r\n\tb", "X: 你".encode(), b"X\xff: y", b"Host: other", b"Host:", b"X: " + b"y" * 300),
        *(b"Connection: close", b"Connection: keep-alive", b"Connection: Transfer-Encoding", b"Expect: 100-continue"),
        *(
            b"Content-Encoding: gzip",
            b"X(Y): z",
            b"X@: y",
            b"X: \x7f",
            b"X: \x01",
            b"Authorization: Bearer x",
            b"X: y" * 9,
        ),
        *(b"Cookie: " + b"a=b; " * 200, b"Trailer: Content-Length", b"Content-Length"),
        b"X-Forwarded-For: 1.2.3.4, \0",
    )
    made.lines.insert(random.randrange(len(made.lines) + 1), random.choice(lines))


def _no_host(random: Random, made: Draft) -> None:
    if made.lines:
        del made.lines[random.randrange(len(made.lines))]


def _request_line(random: Random, made: Draft) -> None:
    choice = random.randrange(3)
    if choice == 0:
        made.method = random.choice(
            (b"post", b"P OST", b"", b"G\0T", b"POST\t", b"P@ST", b"X" * 100, b" POST", b"\xffGET")
        )
    elif choice == 1:
        targets = (
            b"",
            b"/ x",
            b"http://example/x",
            b"//x",
            b"/\xff",
            b"/\0",
            b"x",
            b"/" + b"a" * 2000,
            b"/a\tb",
            b"/?\r",
        )
        made.target = random.choice(targets)
    else:
        versions = (
            b"HTTP/1.0",
            b"HTTP/1.2",
            b"HTTP/2.0",
            b"HTTP/0.9",
            b"http/1.1",
            b"HTTP/1.1 ",
            b"",
            b"HTTP/11",
            b"HTTP/1.",
        )
        made.version = random.choice(versions)


def _ends(random: Random, made: Draft) -> None:
    made.end = random.choice((b"\n", b"\r", b"\r\r\n", b"\n\r"))


def _lead(random: Random, made: Draft) -> None:
    made.lead = random.choice((b"\r\n", b"\n", b"\r\n\r\n", b" ", b"\0", b"\r"))


_FRAMING: Final = (_length, _encoding, _chunk)
_OTHERS: Final = (_header, _no_host, _request_line, _ends, _lead)
CHANGES: Final[tuple[Callable[[Random, Draft], None], ...]] = (*_FRAMING * 3, *_OTHERS)


def request(random: Random, credential: bytes = b"") -> bytes:
    """One request, as bytes, changed in some ways; every other one begins with the header line *credential*."""
    made = draft(random)
    if credential and random.random() < 0.5:
        made.lines.append(credential)
    for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4))):
        random.choice(CHANGES)(random, made)
    whole = bytearray(made.encode())
    for _ in range(random.choice((0, 0, 0, 0, 1, 3))):
        place = random.randrange(len(whole) or 1)
        style = random.randrange(3)
        if style == 0:
            whole[place:place] = bytes([random.choice(_BYTES)])
        elif style == 1:
            del whole[place : place + random.randrange(1, 6)]
        elif whole:
            whole[place] = random.randrange(256)
    return bytes(whole)


def pieces(random: Random, whole: bytes) -> Sequence[bytes]:
    """*whole* as one write, or cut in up to four."""
    places = sorted(random.randrange(len(whole) + 1) for _ in range(random.choice((0, 0, 1, 3))))
    return [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True) if a < b]
