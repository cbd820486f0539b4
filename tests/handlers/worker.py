"""A whole worker in the test's own process and loop."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tornado.web import RequestHandler

from streamproxy.composition.start import Start
from streamproxy.composition.worker import open_worker
from streamproxy.serving import ProxyServer
from streamproxy.settings import load
from streamproxy.tokenizer import Tokenizer


@asynccontextmanager
async def serving(folder: Path, *routes: tuple[str, type[RequestHandler]]) -> AsyncIterator[int]:
    """The port of a worker that has these *routes* besides its own."""
    environ = {
        "STREAMPROXY_DATABASE__URL": f"sqlite+aiosqlite:///{folder}/streamproxy.db",
        "STREAMPROXY_SERVER__CORS_ORIGINS": "https://chat.example",
    }
    settings = load(None, {}, environ).settings
    start = Start(settings, secrets.token_bytes(32), "memory://worker", Tokenizer())
    async with open_worker(start) as worker:
        environment = worker.application.settings["default_handler_args"]
        worker.application.add_handlers(r".*", [(path, handler, environment) for path, handler in routes])
        server = ProxyServer(worker.application, trusted_proxies=())
        server.listen(0, "127.0.0.1")
        (sock,) = server._sockets.values()
        try:
            yield sock.getsockname()[1]
        finally:
            server.stop()
            await server.close_all_connections()
