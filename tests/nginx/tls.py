"""The byte-exact client of ``tests.support.http``, behind TLS."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from tests.support.http import Client, Connection


class TlsConnection(Connection):
    """One TLS connection; everything that reads and writes HTTP is its parent's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(writer.get_extra_info("socket"))
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _receive(self) -> bytes:
        data = await self._reader.read(1 << 16)
        self.received.append(data)
        self._buffer += data
        return data

    def leave(self) -> None:
        self._writer.transport.abort()


class TlsClient(Client):
    """Speaks to a server that shows *certificate*."""

    def __init__(self, port: int, bearer: str | None, certificate: Path) -> None:
        super().__init__(port, bearer)
        self._context = ssl.create_default_context(cafile=str(certificate))

    async def connect(self) -> Connection:
        streams = await asyncio.open_connection("127.0.0.1", self.port, ssl=self._context)
        connection = TlsConnection(*streams)
        self._connections.append(connection)
        return connection
