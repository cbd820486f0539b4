"""How one URL is asked: the part of a request's head that is always the same, and where connections come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yarl import URL

from streamproxy.upstream.borrowed import Lender


class Asking:
    """Calls to one URL, on connections of *lender*. *fixed* are the header fields of every call."""

    def __init__(self, lender: Lender, url: URL, fixed: Mapping[str, str]) -> None:
        self.lender = lender
        lines = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
        self._target = f" {url.raw_path_qs} HTTP/1.1\r\nHost: {_host(url)}\r\n{lines}"

    def request(self, headers: Mapping[str, str], body: Sequence[bytes] | None) -> bytes:
        """A POST of *body*'s pieces (a GET when it is None) as it is sent. ValueError for a header that is none."""
        lines, number = "", 0
        for name in headers:
            lines += f"{name}: {headers[name]}\r\n"
            number += 1
        # One that holds a line end would be more than one.
        if lines.count("\r") != number or lines.count("\n") != number or "\0" in lines:
            raise ValueError("a header field holds a line end")
        if body is None:
            return f"GET{self._target}{lines}\r\n".encode()
        length = sum(map(len, body))
        return b"".join((f"POST{self._target}{lines}Content-Length: {length}\r\n\r\n".encode(), *body))


def _host(url: URL) -> str:
    """RFC 9110, 7.2: the port where it is not the scheme's own."""
    return str(url.host_port_subcomponent)
