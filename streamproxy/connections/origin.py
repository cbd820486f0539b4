"""Where a request comes from, as the proxies in front of us say; the rules are those of Tornado's ``xheaders``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tornado.httputil import HTTPHeaders
from tornado.netutil import is_valid_ip

# What Tornado gives a unix socket.
NO_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing is bound to it


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection: *address* as the socket has it, *ip* of it; *trusted* are proxies' addresses."""

    address: Any
    ip: str
    trusted: Collection[str]


class Origin:
    """What Tornado calls the context of a request: ``remote_ip`` and ``protocol``, worked out when they are asked."""

    def __init__(self, peer: Peer, headers: HTTPHeaders) -> None:
        self._peer = peer
        self._headers = headers

    @property
    def address(self) -> Any:
        return self._peer.address

    @cached_property
    def remote_ip(self) -> str:
        """``X-Real-Ip``, else the last of ``X-Forwarded-For`` that is no trusted proxy, else the socket's."""
        forwarded = self._headers.get("X-Forwarded-For", self._peer.ip)
        hops = [hop.strip() for hop in forwarded.split(",")]
        last = next((hop for hop in reversed(hops) if hop not in self._peer.trusted), hops[0])
        said = self._headers.get("X-Real-Ip", last)
        return said if is_valid_ip(said) else self._peer.ip

    @cached_property
    def protocol(self) -> str:
        """``http`` or ``https``."""
        said = self._headers.get("X-Scheme", self._headers.get("X-Forwarded-Proto", "http"))
        last = said.split(",")[-1].strip()
        return last if last in {"http", "https"} else "http"
