"""The mutated requests of ``http_requests`` at a whole server: no 500, no hang, bounded memory, a clean log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from tests.fuzz.http_reading import read
from tests.fuzz.http_requests import CANARY, pieces, request
from tests.fuzz.report import Report
from tests.fuzz.served import HANG_SECONDS, REDIS_WAS_SLOW, REFUSED, WARM_UP, served

AT_ONCE: Final = 16
QUIET_SECONDS: Final = 0.02
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d)\d\d")


def run(report: Report) -> None:
    """Requests until the report has enough."""
    with served(report) as server:
        credential = b"Authorization: Bearer " + server.bearer.encode()

        async def work() -> None:
            for number in inputs:
                whole = request(report.random, credential)
                parts = [*pieces(report.random, whole), CANARY]
                reading = read(whole + CANARY)
                owes = bool(reading.messages) and reading.messages[-1].target == "/canary"
                sent = await _answers(server.proxy.port, whole, parts, owes=owes)
                kinds = _STATUS.findall(sent)
                refused = sent.count(REDIS_WAS_SLOW)
                assert kinds.count(b"5") == refused, f"{whole!r}: {sent[:500]!r}"
                report.seen.update(f"{kind.decode()}xx" for kind in kinds)
                report.seen[REFUSED] += refused > 0
                if number == WARM_UP:
                    server.warm()

        async def everybody() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())

        inputs = report.inputs()
        asyncio.run(everybody())


async def _answers(port: int, whole: bytes, parts: Sequence[bytes], *, owes: bool) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = bytearray()
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(HANG_SECONDS if owes else QUIET_SECONDS):
            while data := await reader.read(1 << 16):
                sent += data
    except TimeoutError:
        assert not owes, f"{whole!r}: no end within {HANG_SECONDS} s"
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return bytes(sent)
