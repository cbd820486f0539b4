"""A TCP relay that is a bad network: slow, in small pieces, cut. Faults hold from when they are set."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from pathlib import Path
from random import Random

from tests.support.listener import Listener, listen


class FaultProxy:
    """Relays connections to a port or unix socket. *random* makes what is random repeatable.

    - ``delay``: seconds that each piece is held, from and to.
    - ``piece``: the most bytes that are passed on at once.
    - ``cut_after``: connections are reset when they have carried so many bytes to the client.
    - ``cut()``: all connections are reset now.

    The end of one direction is passed on as such.
    """

    def __init__(self, target: int | Path, random: Random) -> None:
        self._target = target
        self._random = random
        self._sock = listen()
        self._listener = Listener(self._sock, self._accept)
        self._writers: set[asyncio.StreamWriter] = set()
        self.delay = (0.0, 0.0)
        self.piece = 1 << 16
        self.cut_after: int | None = None
        self.port: int = self._sock.getsockname()[1]

    async def start(self) -> None:
        self._listener.start()

    async def stop(self) -> None:
        await self._listener.stop()
        self._sock.close()

    def cut(self) -> None:
        for writer in self._writers:
            _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._relay(reader, writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await self._connect()
        self._writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pump(reader, back, None))
                ways.create_task(self._pump(there, writer, self.cut_after))
        except* OSError:
            pass  # one side was reset: so is the other
        finally:
            self._writers -= {writer, back}
            _reset(writer)
            _reset(back)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(str(self._target))
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None) -> None:
        """One direction, to its end."""
        while data := await reader.read(1 << 16):
            for start in range(0, len(data), self.piece):
                await asyncio.sleep(self._random.uniform(*self.delay))
                piece = data[start : start + self.piece][:most]
                writer.write(piece)
                await writer.drain()
                if most is not None:
                    most -= len(piece)
                    if most <= 0:
                        raise ConnectionResetError
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST, unless it has ended already."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing() and sock.family == socket.AF_INET:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
