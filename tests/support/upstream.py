"""A real upstream that does what a test tells it to: a raw asyncio server on a loopback port.

It runs in the test's own loop, so that a test can wait for what happened at the upstream as for
anything else. Raw streams instead of a web framework, because an upstream on a bad day sends
garbage, half events and resets, and no framework would let it. Every answer ends its connection:
nothing of one test is left in the proxy's pool for the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Iterator

import pytest

from tests.support.listener import Listener, listen
from tests.support.steps import Answer, Step, UpstreamRequest, echo, reply

# What tests write scripts for.
SCRIPTED = ("/chat/completions", "/images/generations", "/embeddings")
# What a request gets that its test did not wait for. Not a reset: the proxy would try again, in the next test.
OVER = b"HTTP/1.1 400 Its test is over\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def own_upstream_socket() -> Iterator[socket.socket]:
    """``upstream_socket = own_upstream_socket`` in a module: its upstream hears no probe of the shared proxies."""
    with listen() as sock:
        yield sock


class ScriptedUpstream:
    """Answers each request by the next queued script, else by the standing one, else by an echo.

    A request is one to a ``SCRIPTED`` path: the list of models and unknown paths are answered without a script, so
    that a probe uses none up; *listing* answers them instead where it is set. *requests* holds every request,
    *listed* every other one, *running* counts requests being answered, *most_running* its peak.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._standing: tuple[Step, ...] = (echo(),)
        self._queue: deque[tuple[Step, ...]] = deque()
        self._arrived: asyncio.Queue[UpstreamRequest] = asyncio.Queue()
        self._faults: list[Exception] = []
        self._listener = Listener(sock, self._answer, parting=OVER)
        self.requests: list[UpstreamRequest] = []
        self.listed: list[UpstreamRequest] = []
        self.listing: Step = catalogue
        self.running = 0
        self.most_running = 0

    async def start(self) -> None:
        self._turn_away()
        self._listener.start()

    def _turn_away(self) -> None:
        """Answer the connections that still wait in the socket's queue: they were meant for an earlier test."""
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._sock.accept()
                with connection, contextlib.suppress(OSError):
                    connection.setblocking(False)
                    connection.sendall(OVER)
                    # Bytes that nobody read would make a reset of the closing.
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(2**20)

    async def stop(self) -> None:
        """End what still runs. A script that failed by itself fails the test here."""
        await self._listener.stop()
        assert not self._faults, f"the scripted upstream itself failed: {self._faults!r}"

    def script(self, *steps: Step) -> None:
        """From now on answer every chat request by these steps."""
        self._standing = steps

    def once(self, *steps: Step) -> None:
        """Answer one chat request by these steps, after the ones queued before."""
        self._queue.append(steps)

    async def request(self) -> UpstreamRequest:
        """Wait for the next chat request that nobody has waited for yet."""
        return await self._arrived.get()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the proxy left: that belongs to a script's life
        except Exception as exc:  # noqa: BLE001 - kept for stop(), which fails the test with it
            self._faults.append(exc)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read_request(reader)
        watch = asyncio.create_task(_watch(reader, request.left))
        answer = Answer(request=request, writer=writer)
        try:
            await self._play(answer)
            await answer.end()
            writer.close()
            await watch
        except ConnectionError:
            await watch  # a write found out first; the watch says how the proxy left
            raise
        except asyncio.CancelledError:
            # The test is over: that too.
            if not answer.started:
                raise
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _play(self, answer: Answer) -> None:
        if not answer.request.path.endswith(SCRIPTED):
            self.listed.append(answer.request)
            await self.listing(answer)
            return
        self.requests.append(answer.request)
        self._arrived.put_nowait(answer.request)
        steps = self._queue.popleft() if self._queue else self._standing
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            for step in steps:
                await step(answer)
        finally:
            self.running -= 1


async def catalogue(answer: Answer) -> None:
    if answer.request.path.endswith("/models"):
        data = [{"id": "scripted", "object": "model", "created": 1, "owned_by": "scripted"}]
        await reply(200, {"object": "list", "data": data})(answer)
    else:
        await reply(404, {"detail": "Not Found"})(answer)


async def _read_request(reader: asyncio.StreamReader) -> UpstreamRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head[:-4].split("\r\n")
    method, path, version = line.split(" ")
    headers = [(name, value.strip()) for name, _, value in (f.partition(":") for f in fields)]
    request = UpstreamRequest(method, path, version, headers, b"", asyncio.get_running_loop().create_future())
    request.body = await reader.readexactly(int(request.header("Content-Length") or 0))
    return request


async def _watch(reader: asyncio.StreamReader, left: asyncio.Future[str]) -> None:
    """Note how the connection ended; whatever else the proxy sends on it is of no interest."""
    try:
        while await reader.read(65536):
            pass
        how = "fin"
    except ConnectionError:
        how = "reset"
    left.set_result(how)
