"""The mutated requests through the nginx that we ship: behind it we see only what it has sent, as it has sent it.

nginx writes down every request that it hands on, with its body; our server every request that it reads. A request that
we read and nginx never sent has been smuggled in another one's body. What we refuse of what nginx sends is no harm.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from streamproxy.serving import ProxyServer
from tests.fuzz.http_reading import Message, read
from tests.fuzz.http_requests import CANARY, pieces, request
from tests.fuzz.report import Report
from tests.support.nginx import Nginx, inner

AT_ONCE: Final = 8
BATCH: Final = 100
QUIET_SECONDS: Final = 0.02
PATIENCE_SECONDS: Final = 20.0
_LOG: Final = """log_format sent escape=json
    '{"method":"$request_method","target":"$request_uri","body":"$request_body","to":"$upstream_addr"}';
"""


class Witness(RequestHandler):
    """Takes down every request."""

    def initialize(self, seen: Counter[Message]) -> None:
        said = self.request
        seen[Message(str(said.method), str(said.uri), said.body)] += 1

    def prepare(self) -> None:
        self.finish()


def run(report: Report) -> None:
    """Requests until the report has enough; AssertionError with what was read and never sent."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(report, Path(folder)))


async def _run(report: Report, folder: Path) -> None:
    seen: Counter[Message] = Counter()
    sock, port = bind_unused_port()
    application = Application([(r".*", Witness, {"seen": seen})], log_function=lambda _handler: None)
    server = ProxyServer(application, trusted_proxies=())
    server.add_sockets([sock])
    nginx = _started(folder, port)
    try:
        left = report.count
        while left:
            count = min(BATCH, left)
            left -= count
            batch = [request(report.random) for _ in range(count)]
            for at in range(0, count, AT_ONCE):
                some = batch[at : at + AT_ONCE]
                await asyncio.gather(*(_tell(nginx.port, w, pieces(report.random, w)) for w in some))
            await _compare(seen, folder / "sent.log", batch)
            for _ in batch:
                report.step()
        report.seen["handed on"] = seen.total()
    finally:
        nginx.stop()
        server.stop()
        await server.close_all_connections()


def _started(folder: Path, port: int) -> Nginx:
    nginx = inner(folder, [port])
    site = folder / "site.conf"
    written = f"access_log {folder}/sent.log sent;\n    location / {{"
    site.write_text(_LOG + site.read_text().replace("location / {", written))
    nginx.start()
    return nginx


async def _tell(port: int, whole: bytes, parts: Sequence[bytes]) -> None:
    reading = read(whole + CANARY)
    owes = bool(reading.messages) and reading.messages[-1].target == "/canary"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in (*parts, CANARY):
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(1.0 if owes else QUIET_SECONDS):
            while await reader.read(1 << 16):
                pass
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()


async def _compare(seen: Counter[Message], log: Path, batch: Sequence[bytes]) -> None:
    """nginx writes its line when a request is over, which may be after we have read it: it is given time."""
    async with asyncio.timeout(PATIENCE_SECONDS) as patience:
        while more := seen - _sent(log):
            if asyncio.get_running_loop().time() > (patience.when() or 0) - 1:
                raise AssertionError(f"we read what nginx did not send: {dict(more)!r}\nafter {list(batch)!r}")
            await asyncio.sleep(0.05)


def _sent(log: Path) -> Counter[Message]:
    """What nginx has handed on so far."""
    lines = log.read_bytes().decode("latin-1").splitlines() if log.exists() else []
    found: Counter[Message] = Counter()
    for line in lines:
        said: dict[str, Any] = json.loads(line, strict=False)
        if said["to"] not in ("", "-"):
            found[Message(said["method"], said["target"], said["body"].encode("latin-1"))] += 1
    return found
