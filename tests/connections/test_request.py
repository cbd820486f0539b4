"""The lean request is, for whoever reads it, the one that the installed Tornado makes."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest

from streamproxy.connections import request as lean
from streamproxy.connections.answer import Answer
from streamproxy.connections.head import Head, parse
from streamproxy.connections.origin import Origin, Peer
from streamproxy.connections.request import LeanRequest, make_request


class Context:
    """Stands where an answer stands."""

    context = Origin(Peer(("1.2.3.4", 5), "1.2.3.4", ()), HTTPHeaders({"X-Scheme": "https"}))


def head_of(target: str, *fields: str, version: str = "HTTP/1.1") -> Head:
    return parse("\r\n".join((f"POST {target} {version}", *fields, "", "")).encode())


@pytest.mark.parametrize("host", ["example", "EXAMPLE:80", "[::1]:8000", ""])
def test_whatever_tornado_sets_is_the_same(host: str) -> None:
    head = head_of("/x", f"Host: {host}", "Cookie: a=b")
    theirs = HTTPServerRequest(start_line=head.line, headers=head.headers, connection=Context())  # type: ignore[arg-type]
    ours = make_request(head, Context())  # type: ignore[arg-type]
    assert isinstance(ours, LeanRequest)
    said = vars(theirs).keys() - {"_start_time"}
    assert {name: getattr(ours, name) for name in said if name != "connection"} == {
        name: getattr(theirs, name) for name in said if name != "connection"
    }
    assert abs(ours._start_time - theirs._start_time) < 60
    assert ours.cookies["a"].value == "b"
    assert ours.full_url() == theirs.full_url()


def test_one_with_a_query_is_tornados() -> None:
    found = make_request(head_of("/x?a=b", "Host: x"), Context())  # type: ignore[arg-type]
    assert type(found) is HTTPServerRequest
    assert found.query_arguments == {"a": [b"b"]}


def test_with_another_tornado_every_one_is_tornados(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HTTPServerRequest, "__init__", _with_more(HTTPServerRequest.__init__))
    monkeypatch.setattr(lean, "_KNOWN", lean._known())
    found = make_request(head_of("/", "Host: x"), Context())  # type: ignore[arg-type]
    assert type(found) is HTTPServerRequest


def _with_more(real: object) -> object:
    def made(self: HTTPServerRequest, **named: object) -> None:
        real(self, **named)  # type: ignore[operator]
        self.trailers = {}  # type: ignore[attr-defined]

    return made


@pytest.mark.parametrize("host", ["a,b", "a/b", "a b", "a@b"])
def test_no_host_is_a_list_or_a_path(host: str) -> None:
    with pytest.raises(HTTPInputError):
        make_request(head_of("/", f"Host: {host}"), Context())  # type: ignore[arg-type]


def test_http_1_0_needs_no_host() -> None:
    found = make_request(head_of("/", version="HTTP/1.0"), Context())  # type: ignore[arg-type]
    assert found.host_name == "127.0.0.1"


def test_what_an_answer_says_of_its_request_is_of_that_request() -> None:
    head = parse(b"GET / HTTP/1.1\r\nHost: x\r\nX-Real-Ip: 9.9.9.9\r\n\r\n")

    class Line:
        peer = Peer(("1.2.3.4", 5), "1.2.3.4", ())
        loop = None

    answer = Answer(Line(), head)  # type: ignore[arg-type]
    assert answer.context.remote_ip == "9.9.9.9"
    asked = make_request(head, answer)
    assert isinstance(asked, LeanRequest)
    assert (asked.host, asked.headers["x-real-IP"], asked.remote_ip) == ("x", "9.9.9.9", "9.9.9.9")


def test_what_is_tornados_has_the_fields_of_its_head() -> None:
    head = parse(b"GET /?a=b HTTP/1.1\r\nHost: x\r\nX-Other: 1\r\n\r\n")
    assert make_request(head, Context()).headers["X-Other"] == "1"  # type: ignore[arg-type]
