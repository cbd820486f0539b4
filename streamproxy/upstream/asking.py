"""How one URL is asked: the part of a request's head that is always the same, and where connections come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yarl import URL

from streamproxy.upstream.borrowed import Lender


class Asking:
    """Calls to one URL, on connections of *lender*. *fixed* are the header fields of every call."""

    def __init__(self, lender: Lender, url: URL, fixed: Mapping[str, str]) -> None:
        self.lender = lender
        self._target = f" {url.raw_path_qs} HTTP/1.1\r\nHost: {_host(url)}\r\n{_fields(fixed)}"

    def request(self, headers: Mapping[str, str], body: Sequence[bytes] | None) -> bytes:
        """A POST of *body*'s pieces (a GET when it is None) as it is sent. ValueError for a header that is none."""
        if body is None:
            return f"GET{self._target}{_fields(headers)}\r\n".encode()
        length = sum(map(len, body))
        head = f"POST{self._target}{_fields(headers)}Content-Length: {length}\r\n\r\n".encode()
        return b"".join((head, *body))


def _host(url: URL) -> str:
    """RFC 9110, 7.2: the port where it is not the scheme's own."""
    return str(url.host_port_subcomponent)


def _fields(headers: Mapping[str, str]) -> str:
    """The lines of *headers*; ValueError when one of them would be more than one."""
    lines, number = "", 0
    for name in headers:
        lines += f"{name}: {headers[name]}\r\n"
        number += 1
    if lines.count("\r") != number or lines.count("\n") != number or "\0" in lines:
        raise ValueError("a header field holds a line end")
    return lines
