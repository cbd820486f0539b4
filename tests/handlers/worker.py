"""A whole worker in the test's own process and loop."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tornado.testing import bind_unused_port
from tornado.web import RequestHandler

from streamproxy.composition.start import Start
from streamproxy.composition.worker import open_worker
from streamproxy.serving import make_server
from streamproxy.settings import load
from streamproxy.tokenizer import Tokenizer


@asynccontextmanager
async def serving(
    folder: Path, *routes: tuple[str, type[RequestHandler]], shortcuts: bool = True
) -> AsyncIterator[int]:
    """The port of a worker that has these *routes* besides its own; without *shortcuts* on Tornado's own server."""
    environ = {
        "STREAMPROXY_DATABASE__URL": f"sqlite+aiosqlite:///{folder}/streamproxy.db",
        "STREAMPROXY_SERVER__CORS_ORIGINS": "https://chat.example",
    }
    settings = load(None, {}, environ).settings
    start = Start(settings, secrets.token_bytes(32), "memory://worker", Tokenizer())
    async with open_worker(start) as worker:
        environment = worker.application.settings["default_handler_args"]
        worker.application.add_handlers(r".*", [(path, handler, environment) for path, handler in routes])
        server = make_server(worker.application, trusted_proxies=(), shortcuts=shortcuts)
        sock, port = bind_unused_port()
        server.add_sockets([sock])
        try:
            yield port
        finally:
            server.stop()
            await server.close_all_connections()
