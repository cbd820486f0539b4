"""How one URL is asked: the part of a request's head that is always the same, and where connections come from."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
from yarl import URL

from streamproxy.upstream.borrowed import Lender
from streamproxy.upstream.direct import DirectReply


class Asking:
    """Opens calls to one URL. *fixed* are the header fields of every call."""

    def __init__(
        self, session: aiohttp.ClientSession, url: URL, timeout: aiohttp.ClientTimeout, fixed: Mapping[str, str]
    ) -> None:
        self._lender = Lender(session, url, timeout)
        self._target = f" {url.raw_path_qs} HTTP/1.1\r\nHost: {_host(url)}\r\n{_fields(fixed)}"

    async def open(self, headers: Mapping[str, str], body: bytes | None) -> DirectReply:
        """Send a POST (a GET when *body* is None) and wait for the head. ValueError for a header that is none."""
        request = self._request(headers, body)
        reply = DirectReply(await self._lender.borrow())
        await reply.ask(request)
        return reply

    def _request(self, headers: Mapping[str, str], body: bytes | None) -> bytes:
        if body is None:
            return f"GET{self._target}{_fields(headers)}\r\n".encode()
        return f"POST{self._target}{_fields(headers)}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _host(url: URL) -> str:
    """RFC 9110, 7.2: the port where it is not the scheme's own."""
    return str(url.host_port_subcomponent)


def _fields(headers: Mapping[str, str]) -> str:
    """The lines of *headers*; ValueError when one of them would be more than one."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\r") != len(headers) or lines.count("\n") != len(headers) or "\0" in lines:
        raise ValueError("a header field holds a line end")
    return lines
