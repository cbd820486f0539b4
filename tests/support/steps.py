"""What a scripted upstream can do, step by step: the words that tests write their scripts in.

A step is a coroutine function on the running ``Answer``. The first one that sends something also
sends the head (200, text/event-stream, chunked) unless ``head`` or ``reply`` chose another.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

COMPLETION_ID = "chatcmpl-scripted"
CREATED = 1_700_000_000


@dataclass(slots=True, eq=False)
class UpstreamRequest:
    """One request as it arrived. *left* resolves when its connection ended: ``fin`` or ``reset``."""

    method: str
    path: str
    version: str
    headers: list[tuple[str, str]]
    body: bytes
    left: asyncio.Future[str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The value of the header *name*, None when it was not sent. Twice the same header is a fault."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) <= 1, f"{name} was sent {len(found)} times"
        return found[0] if found else None


@dataclass(slots=True, eq=False)
class Answer:
    """The answer to one request while a script runs. *dripping* sends each byte in its own packet."""

    request: UpstreamRequest
    writer: asyncio.StreamWriter
    framing: str = "chunked"
    started: bool = False
    dripping: bool = False

    async def start(self, status: int, headers: dict[str, str], framing: str) -> None:
        """Send the head. *framing* is ``chunked``, ``close`` (ends with the connection) or ``length``.

        Who asked over HTTP/1.0 knows no chunks: the answer ends with the connection then, as every real server's.
        """
        if framing == "chunked" and self.request.version == "HTTP/1.0":
            framing = "close"
        self.started, self.framing = True, framing
        fields = {"Connection": "close", **headers}
        if framing == "chunked":
            fields["Transfer-Encoding"] = "chunked"
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in fields.items())]
        await self.wire("\r\n".join([*lines, "", ""]).encode())

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        if not self.started:
            await self.start(200, {"Content-Type": "text/event-stream"}, "chunked")
        for piece in [data[i : i + 1] for i in range(len(data))] if self.dripping else [data]:
            await self.wire(b"%x\r\n%b\r\n" % (len(piece), piece) if self.framing == "chunked" else piece)
            await asyncio.sleep(0)

    async def wire(self, data: bytes) -> None:
        """Send bytes as they are, below HTTP."""
        self.writer.write(data)
        await self.writer.drain()

    async def end(self) -> None:
        """The good ending: the terminal chunk where there is one. The server closes the connection."""
        if self.started and self.framing == "chunked" and not self.writer.is_closing():
            await self.wire(b"0\r\n\r\n")


Step: TypeAlias = Callable[[Answer], Awaitable[None]]


def raw(data: bytes) -> Step:
    """A piece of the body, byte for byte."""
    return lambda answer: answer.write(data)


def wire(data: bytes) -> Step:
    """Bytes below HTTP, the status line included: garbage."""
    return lambda answer: answer.wire(data)


def event(*values: object) -> Step:
    """A well-formed event with each of the *values* as JSON, all in one write."""
    return raw(b"".join(b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n" for value in values))


def chunk_of(delta: dict[str, Any], *, finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """The value of one chat.completion.chunk; *fields* add to it or replace its own."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    base = {"id": COMPLETION_ID, "object": "chat.completion.chunk", "created": CREATED, "model": "scripted"}
    return {**base, "choices": [choice], **fields}


def say(text: str, **fields: Any) -> Step:
    """One chunk with *text* as its content."""
    return event(chunk_of({"content": text}, **fields))


def finish(reason: str = "stop", **fields: Any) -> Step:
    """The chunk with the finish reason."""
    return event(chunk_of({}, finish_reason=reason, **fields))


def tokens(prompt: int, completion: int) -> dict[str, int]:
    """A usage object."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def usage(prompt: int = 7, completion: int = 5) -> Step:
    """OpenAI's last chunk: no choices, only usage."""
    return event(chunk_of({}, choices=[], usage=tokens(prompt, completion)))


def done() -> Step:
    """The end mark."""
    return raw(b"data: [DONE]\n\n")


def gate(opened: asyncio.Event) -> Step:
    """Be silent until the test opens the gate."""

    async def step(_answer: Answer) -> None:
        await opened.wait()

    return step


def stall() -> Step:
    """Be silent until the proxy has left."""

    async def step(answer: Answer) -> None:
        await asyncio.shield(answer.request.left)

    return step


def drip() -> Step:
    """From here on send each byte in a packet of its own."""

    async def step(answer: Answer) -> None:
        answer.dripping = True

    return step


def fin() -> Step:
    """Close the connection as a crashed process does: FIN, and no terminal chunk."""

    async def step(answer: Answer) -> None:
        answer.writer.close()

    return step


def drop() -> Step:
    """Reset the connection (RST)."""

    async def step(answer: Answer) -> None:
        sock: socket.socket = answer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        answer.writer.transport.abort()

    return step


def head(status: int = 200, *, framing: str = "chunked", **headers: str) -> Step:
    """Send the head now. Header names are written with underscores: ``content_type="text/html"``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("content-type", "text/event-stream")
    return lambda answer: answer.start(status, named, framing)


def reply(status: int, body: object, **headers: str) -> Step:
    """A whole answer that is no stream; *body* is sent as JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()

    async def step(answer: Answer) -> None:
        named = {"content_type": "application/json", "content_length": str(len(data)), **headers}
        await head(status, framing="length", **named)(answer)
        await answer.write(data)

    return step


def completion_of(text: str, **fields: Any) -> dict[str, Any]:
    """The value of a chat.completion, the answer that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    base = {"id": COMPLETION_ID, "object": "chat.completion", "created": CREATED, "model": "scripted"}
    return {**base, "choices": [choice], "usage": tokens(7, 5), **fields}


def error_of(message: str, *, code: str | None = None, kind: str = "server_error") -> dict[str, Any]:
    """OpenAI's error body."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def by_key(**scripts: Sequence[Step]) -> Step:
    """Answer by the script of the key that the request came with; named by its last 4 characters."""

    async def step(answer: Answer) -> None:
        for part in scripts[(answer.request.header("Authorization") or "")[-4:]]:
            await part(answer)

    return step


def echo() -> Step:
    """A whole good answer that says back the last message, streamed or not as it was asked for."""

    async def step(answer: Answer) -> None:
        asked = answer.request.json
        text = str(asked["messages"][-1].get("content"))
        if not asked.get("stream"):
            await reply(200, completion_of(text))(answer)
            return
        parts: list[Step] = [event(chunk_of({"role": "assistant", "content": ""}))]
        parts += [say(word) for word in text.split(" ")]
        parts += [finish()]
        if (asked.get("stream_options") or {}).get("include_usage"):
            parts += [usage()]
        for part in [*parts, done()]:
            await part(answer)

    return step
