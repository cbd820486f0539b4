"""A request as Tornado's handlers know it, without what nobody reads.

``HTTPServerRequest`` parses and copies an empty query and looks at the host twice, which costs as much as reading the
request. Here what is rarely asked is worked out when it is. A request with a query is as Tornado makes it.

Inner part, seen in Tornado 6.6 (``tests/connections/test_request.py`` holds it to the installed version): the names of
what ``HTTPServerRequest.__init__`` sets, which is not called. Where there are others every request is as Tornado makes
it.
"""

from __future__ import annotations

import re
import time
from functools import cached_property, lru_cache

from tornado.httputil import (
    HTTPConnection,
    HTTPFile,
    HTTPHeaders,
    HTTPInputError,
    HTTPServerRequest,
    split_host_and_port,
)

from streamproxy.connections.head import Head, parse

_HOST = re.compile(r"(?:[\[\]:A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})*")


def make_request(head: Head, connection: HTTPConnection) -> HTTPServerRequest:
    """*connection* has a ``context``.

    HTTPInputError for a host, or none, that HTTP/1.1 does not allow, or for a query that cannot be read.
    """
    if "?" in head.path or not _KNOWN:
        return HTTPServerRequest(start_line=head.line, headers=head.headers, connection=connection)
    return LeanRequest(head, connection)


class LeanRequest(HTTPServerRequest):
    """One without a query."""

    query = ""
    body = b""
    server_connection = None
    _finish_time = None

    def __init__(self, head: Head, connection: HTTPConnection | None) -> None:
        self.method = head.method
        self.uri = self.path = head.path
        self.version = head.version
        self.connection = connection
        self._head = head
        self.host = _checked(head.fields["Host"]) if "Host" in head.fields else _nobodys(head.version)
        self._start_time = time.time()

    @cached_property
    def headers(self) -> HTTPHeaders:  # type: ignore[override]
        return self._head.headers

    @cached_property
    def remote_ip(self) -> str:  # type: ignore[override]
        return str(self.connection.context.remote_ip)  # type: ignore[union-attr]

    @cached_property
    def protocol(self) -> str:  # type: ignore[override]
        return str(self.connection.context.protocol)  # type: ignore[union-attr]

    @cached_property
    def host_name(self) -> str:  # type: ignore[override]
        return split_host_and_port(self.host.lower())[0]

    @cached_property
    def arguments(self) -> dict[str, list[bytes]]:  # type: ignore[override]
        return {}

    @cached_property
    def query_arguments(self) -> dict[str, list[bytes]]:  # type: ignore[override]
        return {}

    @cached_property
    def body_arguments(self) -> dict[str, list[bytes]]:  # type: ignore[override]
        return {}

    @cached_property
    def files(self) -> dict[str, list[HTTPFile]]:  # type: ignore[override]
        return {}


def _nobodys(version: str) -> str:
    """The host of a request that names none."""
    if version == "HTTP/1.0":
        return "127.0.0.1"
    raise HTTPInputError("Missing Host header")


@lru_cache(maxsize=256)
def _checked(host: str) -> str:
    if _HOST.fullmatch(host) is None:  # a comma, too: that is what two fields of that name look like
        raise HTTPInputError(f"Invalid Host header: {host!r}")
    return host


def _names(request: HTTPServerRequest) -> set[str]:
    """Of what *request* has, also where it is worked out later."""
    return {*vars(request), *(name for name in vars(type(request)) if not name.startswith("__"))}


def _known() -> bool:
    head = parse(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    theirs = HTTPServerRequest(start_line=head.line, headers=head.headers)
    return vars(theirs).keys() <= _names(LeanRequest(head, None))


_KNOWN = _known()
