"""A defect of ours: 500 in the one shape, the traceback in the log under the request id and nowhere else."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from streamproxy.composition.start import Start
from streamproxy.composition.worker import open_worker
from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.compat.simple_chat import SimpleChatHandler
from streamproxy.serving import ProxyServer
from streamproxy.settings import load
from streamproxy.tokenizer import Tokenizer
from tests.contract.shapes import CANARY, assert_error
from tests.support.http import Client


class Broken(BaseHandler):
    """Fails as a defect does: with an exception that nobody foresaw."""

    public = True

    async def get(self) -> None:
        raise LookupError(CANARY)

    async def post(self) -> None:
        await self.finish({"never": CANARY["no such place"]})  # type: ignore[index]


class BrokenSimpleChat(SimpleChatHandler):
    """The same in a family with errors of another shape."""

    public = True

    async def get(self) -> None:
        raise LookupError(CANARY)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[int]:
    """The port of a worker in this process that has the broken endpoints besides its own."""
    environ = {
        "STREAMPROXY_DATABASE__URL": f"sqlite+aiosqlite:///{folder}/streamproxy.db",
        "STREAMPROXY_SERVER__CORS_ORIGINS": "https://chat.example",
    }
    settings = load(None, {}, environ).settings
    start = Start(settings, secrets.token_bytes(32), "memory://defects", Tokenizer())
    async with open_worker(start) as worker:
        environment = worker.application.settings["default_handler_args"]
        worker.application.add_handlers(
            r".*", [(r"/broken", Broken, environment), (r"/user/broken", BrokenSimpleChat, environment)]
        )
        server = ProxyServer(worker.application, trusted_proxies=())
        server.listen(0, "127.0.0.1")
        (sock,) = server._sockets.values()
        try:
            yield sock.getsockname()[1]
        finally:
            server.stop()
            await server.close_all_connections()


@pytest.fixture
def client(io_loop: IOLoop, tmp_path: Path) -> Iterator[Client]:
    context = serving(tmp_path)
    with closing(Client(io_loop.run_sync(context.__aenter__))) as found:
        yield found
    io_loop.run_sync(lambda: context.__aexit__(None, None, None))


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_defect_is_a_500_in_the_shape_of_every_error(
    client: Client, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """The client learns that it was not its fault and which request it was; the log has the rest."""
    answer = await client.ask(method, "/broken", b"{}" if method == "POST" else None, origin="https://chat.example")
    error = assert_error(answer, 500)
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert b"LookupError" not in answer.body
    assert b"TypeError" not in answer.body
    assert answer.head.get("Access-Control-Allow-Origin") == "https://chat.example"
    (logged,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (answer.head.get("X-Request-Id") or "missing") in logged.getMessage()
    assert logged.exc_info


async def test_a_defect_in_a_family_has_that_familys_shape(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    answer = await client.ask("GET", "/user/broken")
    assert answer.status == 500
    assert set(answer.json) == {"detail", "code"}
    assert CANARY.encode() not in answer.body
    assert [record for record in caplog.records if record.levelno >= logging.ERROR]
