"""The official SDKs behind one small interface, so that each promise is written once and held by both.

A ``Call`` gives what the SDK gives, as plain values: ``{"chunk": …}``, ``{"message": …}``,
``{"models": […]}``, ``{"error": {"name", "status", "code", "message"}}`` and at last ``{"end": True}``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import openai

from tests.support.processes import find_program

Event = dict[str, Any]
NODE_FOLDER = Path(__file__).parent / "node"


@dataclass(frozen=True, slots=True)
class Job:
    """What to call: *mode* is ``stream``, ``whole``, ``helper`` (the SDK's own accumulator) or ``models``.

    *headers* are sent with a stream, beside the SDK's own.
    """

    port: int
    api_key: str
    params: dict[str, Any]
    mode: str = "stream"
    max_retries: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


class Call(Protocol):
    async def event(self) -> Event:
        """The next thing the SDK gives."""

    async def abort(self) -> None:
        """Stop as a user of the SDK stops."""

    async def close(self) -> None: ...


class Sdk(Protocol):
    async def start(self, job: Job) -> Call: ...


class PythonSdk:
    """openai-python, in this process and in the test's loop."""

    async def start(self, job: Job) -> Call:
        return PythonCall(job)


class PythonCall:
    def __init__(self, job: Job) -> None:
        self._client = openai.AsyncOpenAI(base_url=job.base_url, api_key=job.api_key, max_retries=job.max_retries)
        self._stream: openai.AsyncStream[Any] | None = None
        self._opening = asyncio.create_task(self._open(job))
        self._ended = False

    async def _open(self, job: Job) -> Event | None:
        create = self._client.chat.completions.create
        if job.mode == "models":
            return {"models": [model.id async for model in self._client.models.list()]}
        if job.mode == "whole":
            return {"message": (await create(**job.params)).to_dict()}
        if job.mode == "helper":
            async with self._client.chat.completions.stream(**job.params) as stream:
                return {"message": (await stream.get_final_completion()).to_dict()}
        self._stream = await create(**job.params, stream=True, extra_headers=dict(job.headers))
        return None

    async def event(self) -> Event:
        if self._ended:
            return {"end": True}
        try:
            whole = await self._opening
            if self._stream is not None:
                return {"chunk": (await anext(self._stream)).to_dict()}
        except StopAsyncIteration:
            whole = None
        except openai.OpenAIError as exc:
            self._ended = True
            status, code = getattr(exc, "status_code", None), getattr(exc, "code", None)
            return {"error": {"name": type(exc).__name__, "status": status, "code": code, "message": str(exc)}}
        self._ended = True
        return whole or {"end": True}

    async def abort(self) -> None:
        """Cancel the task that waits, or close the stream that runs."""
        if self._stream is not None:
            await self._stream.close()
        self._opening.cancel()
        await asyncio.gather(self._opening, return_exceptions=True)

    async def close(self) -> None:
        await self.abort()
        await self._client.close()


class NodeSdk:
    """openai-node, in a process of its own for each call."""

    async def start(self, job: Job) -> Call:
        described = {
            "base_url": job.base_url,
            "api_key": job.api_key,
            "params": job.params,
            "mode": job.mode,
            "max_retries": job.max_retries,
            "headers": dict(job.headers),
        }
        process = await asyncio.create_subprocess_exec(
            find_program("node", package="nodejs"),
            str(NODE_FOLDER / "call.mjs"),
            json.dumps(described),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return NodeCall(process)


class NodeCall:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def event(self) -> Event:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        event: Event = json.loads(line) if line else {"end": True}
        return event

    async def abort(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"abort\n")
        await self._process.stdin.drain()

    async def close(self) -> None:
        """Wait for the process; one that hangs on is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()
