"""An HTTP/1.1 client that shows exact bytes: what was received, and where each write began and ended.

SSE rules are about bytes and their boundaries, which every real client hides. One ``Connection`` is
one socket; a body is read piece by piece as the server framed it (Tornado makes one chunk a write).
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

HEARTBEAT = b":\n"
DONE = b"data: [DONE]\n\n"
# All that may stand in a stream of family A: heartbeats, and events of one data line.
_FRAME = re.compile(rb":\n|data: [^\r\n]+\n\n")


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and header fields of an answer."""

    status: int
    fields: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The value of the field *name*; None when missing. Repeated fields are joined by a comma."""
        found = [value for key, value in self.fields if key.lower() == name.lower()]
        return ", ".join(found) if found else None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: its head, its body, and the pieces that the body came in."""

    head: Head
    pieces: tuple[bytes, ...]

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def frames(self) -> list[bytes]:
        """The stream as its frames, heartbeats left out."""
        return [frame for frame in split_frames(self.body) if frame != HEARTBEAT]

    def chunks(self) -> list[Any]:
        """The values of all events but the end mark, which must be there once, last."""
        frames = self.frames()
        assert frames.count(DONE) == 1, f"[DONE] came {frames.count(DONE)} times: {self.body[-300:]!r}"
        assert frames[-1] == DONE, f"[DONE] was not the last frame: {self.body[-300:]!r}"
        return [json.loads(frame[6:]) for frame in frames[:-1]]

    def text(self) -> str:
        """The content that a reader sees."""
        deltas = [c["choices"][0]["delta"] for c in self.chunks() if c.get("choices")]
        return "".join(delta.get("content") or "" for delta in deltas)


def split_frames(body: bytes) -> list[bytes]:
    """Cut *body* into frames; AssertionError at the first byte that no rule of family A allows."""
    frames, at = [], 0
    while at < len(body):
        match = _FRAME.match(body, at)
        assert match, f"not a frame of family A at byte {at}: {body[at : at + 120]!r}"
        frames.append(match[0])
        at = match.end()
    return frames


def chat(text: str = "Hello there", *, stream: bool = True, **fields: Any) -> dict[str, Any]:
    """A chat request."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "stream": stream, **fields}


def request_bytes(method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> bytes:
    """A request as it goes over the wire; Content-Length is added for a *body* unless chunked was asked for."""
    fields = {"Host": "proxy.test", **headers}
    if body is not None and "Transfer-Encoding" not in fields:
        fields["Content-Length"] = str(len(body))
    elif body is not None:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Connection:
    """One socket to the proxy. *received* records what each recv returned."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._left_to_read: int | None = None
        self.bodiless = False  # the answer to a HEAD request announces a body and has none
        self.received: list[bytes] = []

    @classmethod
    async def open(cls, port: int) -> Connection:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def head(self) -> Head:
        """Read the head of the next answer."""
        text = (await self._until(b"\r\n\r\n"))[:-4].decode("latin-1")
        line, *lines = text.split("\r\n")
        fields = tuple((name, value.strip()) for name, _, value in (field.partition(":") for field in lines))
        head = Head(int(line.split(" ")[1]), fields)
        if head.get("Transfer-Encoding") == "chunked":
            self._left_to_read = None
        else:
            empty = self.bodiless or head.status in (204, 304)
            self._left_to_read = 0 if empty else int(head.get("Content-Length") or 0)
        return head

    async def piece(self) -> bytes:
        """The next piece of the body as the server framed it, b"" at its end."""
        if self._left_to_read is not None:
            data, self._left_to_read = await self._exactly(self._left_to_read), 0
            return data
        size = int(await self._until(b"\r\n"), 16)
        data = await self._exactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def reply(self) -> Reply:
        """Read a whole answer."""
        head, pieces = await self.head(), []
        while piece := await self.piece():
            pieces.append(piece)
        return Reply(head, tuple(pieces))

    async def frames(self) -> AsyncIterator[bytes]:
        """Each frame as it arrives, heartbeats included, to the end of the stream."""
        while piece := await self.piece():
            for frame in split_frames(piece):
                yield frame

    async def frame(self) -> bytes:
        """The next piece, which must be one whole frame."""
        (frame,) = split_frames(await self.piece())
        return frame

    async def at_end(self) -> bool:
        """True when the server has closed the connection and nothing is left to read."""
        return not self._buffer and not await self._receive()

    def leave(self) -> None:
        """Close as a browser tab does: FIN."""
        self._sock.close()

    def half_close(self) -> None:
        """Say that nothing more will be sent, and go on reading: FIN in one direction."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close as a crash does: RST."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    async def _receive(self) -> bytes:
        data = await asyncio.get_running_loop().sock_recv(self._sock, 1 << 16)
        self.received.append(data)
        self._buffer += data
        return data

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if not await self._receive():
                raise ConnectionResetError(f"the proxy closed the connection; left over: {self._buffer[:200]!r}")
        data, _, self._buffer = self._buffer.partition(mark)
        return data + mark

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not await self._receive():
                raise ConnectionResetError(f"the proxy closed the connection; left over: {self._buffer[:200]!r}")
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data


class Client:
    """Speaks to one proxy as one caller: a bearer and a list of connections to close at the end."""

    def __init__(self, port: int, bearer: str | None = None) -> None:
        self.port = port
        self.bearer = bearer
        self._connections: list[Connection] = []

    async def connect(self) -> Connection:
        connection = await Connection.open(self.port)
        self._connections.append(connection)
        return connection

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> Connection:
        """Send one request on a connection of its own. *body* is sent as JSON unless it is bytes.

        Header names are written with underscores: ``x_session_id="s1"``. An empty value leaves a default out.
        """
        connection = await self.connect()
        await self.send_on(connection, method, path, body, **headers)
        return connection

    async def send_on(
        self, connection: Connection, method: str, path: str, body: object = None, **headers: str
    ) -> None:
        """Send one request on a connection that is there already."""
        fields = {name.replace("_", "-").title(): value for name, value in headers.items()}
        if self.bearer is not None:
            fields.setdefault("Authorization", f"Bearer {self.bearer}")
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
        data = body if isinstance(body, bytes) or body is None else json.dumps(body, ensure_ascii=False).encode()
        connection.bodiless = method == "HEAD"
        sent = {name: value for name, value in fields.items() if value}
        await connection.send(request_bytes(method, path, sent, data))

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """Send one request, read the whole answer and close."""
        connection = await self.send(method, path, body, **headers)
        try:
            return await connection.reply()
        finally:
            connection.leave()

    async def chat(self, text: str = "Hello there", *, stream: bool = True, **fields: Any) -> Reply:
        """One chat request and its whole answer."""
        return await self.ask("POST", "/v1/chat/completions", chat(text, stream=stream, **fields))

    async def open_chat(self, text: str = "Hello there", *, stream: bool = True, **fields: Any) -> Connection:
        """Send one chat request; the answer is still to be read."""
        return await self.send("POST", "/v1/chat/completions", chat(text, stream=stream, **fields))

    def close(self) -> None:
        for connection in self._connections:
            connection.leave()
