"""The mutated requests of ``http_requests`` at a whole server: no 500, no hang, bounded memory, a clean log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from tests.fuzz.http_reading import read
from tests.fuzz.http_requests import CANARY, pieces, request
from tests.fuzz.report import Report
from tests.fuzz.served import HANG_SECONDS, REDIS_WAS_SLOW, WARM_UP, served

AT_ONCE: Final = 16
QUIET_SECONDS: Final = 0.02
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d)\d\d")


def run(report: Report) -> None:
    """Requests until the report has enough."""
    with served() as server:
        credential = b"Authorization: Bearer " + server.bearer.encode()

        async def work() -> None:
            for number in inputs:
                whole = request(report.random, credential)
                parts = [*pieces(report.random, whole), CANARY]
                reading = read(whole + CANARY)
                owes = bool(reading.messages) and reading.messages[-1].target == "/canary"
                for kind in await _statuses(server.proxy.port, whole, parts, owes=owes):
                    report.seen[f"{kind.decode()}xx"] += 1
                if number == WARM_UP:
                    server.warm()

        async def everybody() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())

        inputs = report.inputs()
        asyncio.run(everybody())


async def _statuses(port: int, whole: bytes, parts: Sequence[bytes], *, owes: bool) -> list[bytes]:
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
    kinds = _STATUS.findall(bytes(sent))
    assert kinds.count(b"5") == sent.count(REDIS_WAS_SLOW), f"{whole!r}: {bytes(sent)[:500]!r}"
    return kinds
