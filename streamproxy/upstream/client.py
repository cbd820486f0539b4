"""The aiohttp sessions all upstream calls go through, and what its failures mean.

aiohttp's defaults are made for short answers: a total time limit of 300 s cuts long ones, a pool
limit of 100 makes the 101st stream wait in silence, a shared cookie jar replays one tenant's cookies
to another, redirects carry the body to a foreign host. All of them are off here; the time limits that
count are the exchange's own (``services.deadlines``). There are two sessions, so that no connection made for an
upstream which may have a private address serves one that may not (``upstream.guard``).

Calls are spoken on a session's connections by ``direct``; by the session itself where ``borrowed`` is not available,
or where *shortcut* is false.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeAlias

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from streamproxy.domain.keypool import Upstream
from streamproxy.upstream import borrowed
from streamproxy.upstream.asking import Asking
from streamproxy.upstream.borrowed import KEPT_SECONDS, Lender
from streamproxy.upstream.direct import DirectReply
from streamproxy.upstream.failures import BROKEN, address_refused, broken, foreign_encoding, unopened
from streamproxy.upstream.guard import guarded_sockets
from streamproxy.upstream.inflating import ENCODINGS_WE_READ

USER_AGENT = "streamproxy"
# Gateways send content-security policies and cookies of this size; aiohttp's own bound is 8190 bytes.
MAX_FIELD_SIZE = 32768
# A misconfigured one sends a cookie for each of its hosts; aiohttp's own bound is 128 fields.
MAX_FIELDS = 2048
READ_BUFFER_SIZE = 1 << 16
# identity: what we do not have to unpack cannot be truncated in silence (gzip cut short reads as a clean end).
_FIXED_HEADERS = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
# URLs whose asking is kept; settings and people name them, and there are few.
MOST_URLS = 512


class AiohttpTransport:
    """Fills ``domain.ports.UpstreamTransport``. Use as ``async with``.

    *private_origins* (``http://127.0.0.1:11434``) may be plain http and at private addresses; others may not.
    """

    def __init__(self, *, connect_timeout: float, private_origins: Collection[str] = (), shortcut: bool = True) -> None:
        self._connect_timeout = connect_timeout
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=connect_timeout, sock_connect=connect_timeout, sock_read=None
        )
        self._private_origins = _origins(private_origins)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._shortcut = shortcut and borrowed.available()
        self._askings: dict[str, Asking] = {}
        # By origin, and whether it may be private.
        self._lenders: dict[tuple[URL, bool], Lender] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for private in (False, True):
            self._sessions[private] = await self._stack.enter_async_context(self._session(private=private))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lender in self._lenders.values():
            lender.close()
        await self._stack.aclose()

    def meet(self, upstreams: Iterable[Upstream]) -> None:
        """These are the upstreams from now on: which of them may be private, they say themselves."""
        self._private_origins = _origins(upstream.base_url for upstream in upstreams if upstream.allow_private)
        self._askings.clear()

    def _session(self, *, private: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEPT_SECONDS, socket_factory=guarded_sockets(private=private)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            headers=_FIXED_HEADERS,
            max_field_size=MAX_FIELD_SIZE,
            max_headers=MAX_FIELDS,
            read_bufsize=READ_BUFFER_SIZE,
            trust_env=False,
        )

    def open(
        self, url: str, *, headers: Mapping[str, str], body: Sequence[bytes] | None
    ) -> Coroutine[Any, Any, AnyReply]:
        if not self._shortcut:
            return self._open_by_session(url, headers, body)
        try:
            asking = self._askings[url] if url in self._askings else self._asking(url)
            request = asking.request(headers, body)
        except (*BROKEN, ValueError) as exc:
            raise unopened(exc, self._connect_timeout) from exc
        loan = asking.lender.kept()
        # As nearly always there is one: then the reply itself is all that waits for its head.
        return self._open_anew(asking.lender, request) if loan is None else DirectReply(loan).ask(request)

    async def _open_anew(self, lender: Lender, request: bytes) -> AnyReply:
        try:
            loan = await lender.borrow()
        except BROKEN as exc:
            raise unopened(exc, self._connect_timeout) from exc
        return await DirectReply(loan).ask(request)

    async def _open_by_session(
        self, url: str, headers: Mapping[str, str], body: Sequence[bytes] | None
    ) -> AiohttpReply:
        method, data = ("GET", None) if body is None else ("POST", b"".join(body))
        try:
            target = URL(url)
            session = self._sessions[self._is_private(target)]
            response = await session.request(method, target, data=data, headers=headers, allow_redirects=False)
            return AiohttpReply(response)
        except (*BROKEN, ValueError) as exc:
            raise unopened(exc, self._connect_timeout) from exc

    def _asking(self, url: str) -> Asking:
        target = URL(url)
        place = target.origin(), self._is_private(target)
        lender = self._lenders.get(place)
        if lender is None:
            if len(self._lenders) >= MOST_URLS:
                # What they lent comes back to them, and they drop it when its time is over.
                self._lenders.clear()
            lender = self._lenders[place] = Lender(self._sessions[place[1]], place[0], self._timeout)
        if len(self._askings) >= MOST_URLS:
            self._askings.clear()
        asking = self._askings[url] = Asking(lender, target, _FIXED_HEADERS)
        return asking

    def _is_private(self, target: URL) -> bool:
        """Whether *target* may be at a private address; UpstreamError when it may not be called at all."""
        if not self._sessions:
            raise RuntimeError("the transport is used before it was entered")
        private = bool(self._private_origins) and str(target.origin()) in self._private_origins
        if target.raw_user is not None or not (private or target.scheme == "https"):
            raise address_refused()
        return private


def _origins(urls: Iterable[str]) -> frozenset[str]:
    return frozenset(str(URL(url).origin()) for url in urls)


class AiohttpReply:
    """Fills ``domain.ports.UpstreamReply``."""

    __slots__ = ("_closed", "_flowing", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        # aiohttp 3.14 drops the connection at a malformed chunk without telling whoever reads the body, who
        # would wait for the idle time limit: so the end of the connection is watched too.
        self._closed = _closed(response)
        if self._closed is not None:
            self._closed.add_done_callback(self._lost)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.status = response.status
        self.headers: CIMultiDictProxy[str] = response.headers

    async def batch(self) -> bytes:
        if self.headers.get("Content-Encoding", "").lower() not in ENCODINGS_WE_READ:
            raise foreign_encoding()
        try:
            return await self._response.content.readany()
        except BROKEN as exc:
            raise broken(exc) from exc

    async def pour(self, take: Callable[[bytes], bool]) -> None:
        while (batch := await self.batch()) and take(batch):
            await self._flowing.wait()

    def pause(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def _lost(self, _closed: asyncio.Future[None]) -> None:
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection ended inside the body"))

    def _unwatch(self) -> None:
        if self._closed is not None:
            self._closed.remove_done_callback(self._lost)
            self._closed = None

    def close(self) -> None:
        # Still watched: whoever waits for the next batch must learn of it.
        self._response.close()
        self._flowing.set()

    async def finish(self) -> None:
        self._unwatch()
        # The last chunk of a chunked body nearly always came with the last event. Where it did not, a
        # new connection costs less than waiting for it.
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


AnyReply: TypeAlias = AiohttpReply | DirectReply


def _closed(response: aiohttp.ClientResponse) -> asyncio.Future[None] | None:
    """Done when the response's connection is; None when it has been given back, because the body was short."""
    connection = response.connection
    if connection is None or connection.protocol is None:
        return None
    closed: asyncio.Future[None] | None = connection.protocol.closed
    if closed is not None:
        # Once a connection, which serves many answers: a future whose exception nobody reads is logged as lost.
        closed.remove_done_callback(_noticed)
        closed.add_done_callback(_noticed)
    return closed


def _noticed(closed: asyncio.Future[None]) -> None:
    if not closed.cancelled():
        closed.exception()
