"""The way between the browser and nginx, which a test can cut: a TCP relay on a loopback port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from tests.support.listener import Listener, listen


class Network:
    """Relays connections to *port*. ``await cut()`` loses them as a dead access point does; ``mend()`` is its end.

    While it is cut, connections that are tried are reset, and those that ran are gone. With ``silent=True`` nobody is
    told instead: bytes stay away, in both directions, until ``mend`` lets them through.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._sock = listen()
        self._listener = Listener(self._sock, self._accept)
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self.port: int = self._sock.getsockname()[1]
        self.refused = 0

    async def start(self) -> None:
        self._listener.start()

    async def stop(self) -> None:
        await self._listener.stop()
        self._sock.close()

    async def cut(self, *, silent: bool = False) -> None:
        if silent:
            self._open.clear()
            return
        self._refusing = True
        for writer in list(self._writers):
            _reset(writer)

    def mend(self) -> None:
        self._refusing = False
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            self.refused += 1
            _reset(writer)
            return
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._relay(reader, writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, inner_writer}
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pump(reader, inner_writer))
                ways.create_task(self._pump(inner_reader, writer))
        except* OSError:
            pass  # one side was reset; the other must be too
        finally:
            self._writers -= {writer, inner_writer}
            _reset(writer)
            _reset(inner_writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction. Its end is the end of both: neither a browser nor nginx half-closes."""
        while data := await reader.read(65536):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()
        raise ConnectionResetError


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN: nothing more can come, in either direction."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing():
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
