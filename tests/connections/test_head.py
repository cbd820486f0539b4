"""What a head says: usual ones are read in one go, and any other field by field; both read the same."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders, HTTPInputError

from streamproxy.connections import head
from streamproxy.connections.head import end_of_head, parse

USUAL = [
    [b"Host: x"],
    [b"Host: x", b"Content-Length: 3", b"content-type:application/json"],
    [b"Host: x", b"X-Empty:", b"X-Spaced:  \t a b"],
    [b"Host: x", b"X-Latin: \xe4\xff", b"Connection: close"],
    [b"Host: x", b"Upgrade: websocket", b"Connection: Upgrade"],
]
OTHER = [
    [b"Host: x", b"Cookie: a", b"Cookie: b"],
    [b"Host: x", b"Accept: a", b"ACCEPT: b"],
    [b"Host: x", b"X-Trailing: a \t"],
    [b"Host: x", b"X-Last: a", b"X-Empty: \t"],
]


def written(fields: list[bytes], method: bytes = b"POST") -> bytes:
    return method + b" /a HTTP/1.1\r\n" + b"".join(b"%b\r\n" % field for field in fields) + b"\r\n"


def each(fields: list[bytes]) -> HTTPHeaders:
    """The fields, read one by one."""
    into = head._Each()
    head._read(written(fields), into)
    return into.headers


@pytest.mark.parametrize("fields", USUAL)
def test_a_usual_head_says_what_its_fields_say(fields: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = vars(each(fields))
    monkeypatch.setattr(head, "_Each", None)  # It is not read again.
    assert vars(parse(written(fields)).headers) == expected


@pytest.mark.parametrize("fields", [*USUAL, *OTHER])
def test_one_dictionary_says_what_tornados_fields_say(fields: list[bytes]) -> None:
    found = parse(written(fields))
    assert found.fields == dict(found.headers) == dict(each(fields))


@pytest.mark.parametrize("fields", OTHER)
def test_so_does_any_other(fields: list[bytes]) -> None:
    found, expected = parse(written(fields)).headers, each(fields)
    assert list(found.get_all()) == list(expected.get_all())
    assert [(name, found[name]) for name in found] == [(name, expected[name]) for name in expected]


@pytest.mark.parametrize(
    "fields",
    [
        [b"Content-Length: 3", b"Content-Length: 3"],
        [b"Content-Length: 3", b"content-length: 4"],
        [b"Content-Length: 3", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"transfer-encoding: chunked"],
        [b"Transfer-Encoding: gzip"],
        [b"Content-Length: +3"],
        [b"X: a\rb"],
        [b"X: a\x00b"],
        [b" X: folded"],
        [b"X : a"],
        [b"X: a\nY: b"],
    ],
)
def test_what_parsers_disagree_about_is_refused(fields: list[bytes]) -> None:
    with pytest.raises(HTTPInputError):
        parse(written([b"Host: x", *fields]))


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\r\n", b"\n\n", b"\r\n\n"])
def test_the_end_of_a_head_is_found_in_however_many_pieces_it_comes(end: bytes) -> None:
    data = b"GET / HTTP/1.1\r\nHost: x" + end
    for size in range(len(data)):
        assert end_of_head(data[:size], 0) == 0
        assert end_of_head(data, max(0, size - 2)) == len(data)
    assert end_of_head(data + b"body", 0) == len(data)


@pytest.mark.parametrize("end", [b"\n\r\n", b"\n\n", b"\r\n\n"])
@pytest.mark.parametrize("behind", [b"", b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n", b"A: b\r\n\r\n", b"\r\n\r\n"])
def test_one_that_ends_without_a_cr_is_refused_whatever_follows(end: bytes, behind: bytes) -> None:
    """No other head, and no body, can be hidden behind it."""
    data = b"GET /a HTTP/1.1\r\nHost: x" + end + behind
    with pytest.raises(HTTPInputError):
        parse(data[: end_of_head(data, 0)])


@pytest.mark.parametrize("fields", [[b"Host: x", b"Host: y"], [b"Host: x", b"host: y"]])
def test_a_second_host_is_seen(fields: list[bytes]) -> None:
    assert parse(written(fields)).headers.get("Host") == "x,y"


def test_a_method_that_llhttp_does_not_know_is_read() -> None:
    found = parse(b"\r\n" + written([b"Host: x", b"A: b"], method=b"BREW"))
    assert (found.method, found.line.method, found.headers.get("a")) == ("BREW", "BREW", "b")


@pytest.mark.parametrize(("said", "waits"), [(b"100-continue", True), (b"200-ok", False)])
def test_who_waits_to_be_told_is_known(said: bytes, waits: bool) -> None:
    assert parse(written([b"Host: x", b"Expect: " + said])).waits is waits
