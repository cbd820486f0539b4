"""A caller of the stream endpoints: starts an answer, reads it through lost connections, cancels it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp
import click

from streamproxy.redaction import redact
from streamproxy.wire.sse import Decoder, Event

# Heartbeats come every 10 s; a connection that is silent for so long is dead.
SILENCE_SECONDS: Final = 45.0
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 10.0
# After so long without a connection nobody waits for it any more; the server holds what has ended for 300 s.
PATIENCE_SECONDS: Final = 120.0
_PASSING: Final = frozenset({500, 502, 503, 504})


class RefusedError(click.ClickException):
    """What the server, or its absence, answered. *retry_after* is in seconds; *passing* may be over in a moment.

    Not of the tree in errors.py, whose errors this server tells others: it is what a command ends with.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after: int | None = None) -> None:
        super().__init__(redact(message))
        self.status = status
        self.retry_after = retry_after
        self.passing = status == 0 or status in _PASSING


@dataclass(frozen=True, slots=True)
class Credential:
    """A bearer, or the cookie of a guest."""

    headers: Mapping[str, str]

    @classmethod
    def bearer(cls, token: str) -> Credential:
        return cls({"Authorization": f"Bearer {token}"})


class Connection:
    """To the server at *url*. Use as ``async with``."""

    def __init__(self, url: str, credential: Credential) -> None:
        self._url = url.rstrip("/")
        self._headers = dict(credential.headers)

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_SECONDS)
        self._http = aiohttp.ClientSession(headers=self._headers, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def guest(self) -> Credential | None:
        """What the page gives to who has no credential; None where guests are not taken."""
        try:
            async with self._asked("GET", "/") as reply:
                cookies = [f"{name}={morsel.value}" for name, morsel in reply.cookies.items()]
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise _unreachable(self._url, fault) from None
        return Credential({"Cookie": "; ".join(cookies)}) if cookies else None

    async def models(self) -> list[str]:
        """The ids of the models that may be asked."""
        return [model["id"] for model in (await self._json("GET", "/v1/models"))["data"]]

    async def session(self, session_id: str) -> list[dict[str, Any]]:
        """The messages of a session, [] when there is none."""
        try:
            messages: list[dict[str, Any]] = (await self._json("GET", f"/v1/sessions/{session_id}"))["messages"]
        except RefusedError as refusal:
            if refusal.status != 404:
                raise
            return []
        return messages

    async def start(self, model: str, session_id: str, question: str) -> str:
        """Start an answer; its stream's id. A POST whose answer was lost is repeated, and never starts a second one."""
        key = {"Idempotency-Key": secrets.token_hex(16)}
        asked = {"model": model, "session_id": session_id, "messages": [{"role": "user", "content": question}]}
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return str((await self._json("POST", "/v1/streams", headers=key, json=asked))["id"])
            except RefusedError as refusal:
                if not refusal.passing or pause > LONGEST_PAUSE_SECONDS:
                    raise
            await asyncio.sleep(pause)
            pause *= 2

    async def events(self, stream_id: str) -> AsyncGenerator[Event | None, None]:
        """Every event of the stream once, through lost connections, the ending last; None when one was lost."""
        position, pause, clock = f"{stream_id}.0", FIRST_PAUSE_SECONDS, asyncio.get_running_loop().time
        progress = clock()
        while True:
            try:
                async with aclosing(self._read(stream_id, position)) as events:
                    async for event in events:
                        position, pause, progress = event.id or position, FIRST_PAUSE_SECONDS, clock()
                        yield event
                        if event.event in {"done", "failed"}:
                            return
            except RefusedError as refusal:
                if not refusal.passing or clock() - progress > PATIENCE_SECONDS:
                    raise
            yield None
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def cancel(self, stream_id: str) -> None:
        """End the answer; what was said stays in the session."""
        await self._json("POST", f"/v1/streams/{stream_id}/cancel")

    async def _read(self, stream_id: str, position: str) -> AsyncGenerator[Event, None]:
        decoder = Decoder()
        path = f"/v1/streams/{stream_id}/events?last_event_id={position}"
        try:
            async with self._asked("GET", path) as reply:
                await _check(reply)
                if reply.status == 204:
                    yield Event("{}", "done")
                async for chunk in reply.content.iter_any():
                    for event in decoder.feed(chunk):
                        yield event
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise _unreachable(self._url, fault) from None

    async def _json(self, method: str, path: str, **options: Any) -> Any:
        try:
            async with self._asked(method, path, **options) as reply:
                await _check(reply)
                return await reply.json()
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise _unreachable(self._url, fault) from None

    def _asked(self, method: str, path: str, **options: Any) -> Any:
        return self._http.request(method, self._url + path, **options)


async def _check(reply: aiohttp.ClientResponse) -> None:
    if reply.status < 400:
        return
    try:
        message = str(json.loads(await reply.text())["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"The server answered {reply.status}."
    wait = reply.headers.get("Retry-After", "")
    retry_after = int(wait) if wait.isascii() and wait.isdigit() else None
    raise RefusedError(message, status=reply.status, retry_after=retry_after)


def _unreachable(url: str, fault: Exception) -> RefusedError:
    return RefusedError(f"No server answers at {url} ({type(fault).__name__}). Is it running? See --url.")
