"""A defect of ours: 500 in the one shape, the traceback in the log under the request id and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from streamproxy.handlers.base import BaseHandler
from streamproxy.handlers.compat.simple_chat import SimpleChatHandler
from streamproxy.log import setup_logging
from tests.contract.shapes import CANARY, assert_error
from tests.handlers.worker import serving
from tests.support.http import Client
from tests.support.rootlogger import root_logger_kept


class Broken(BaseHandler):
    """Fails as a defect does: with an exception that nobody foresaw."""

    public = True

    async def get(self) -> None:
        raise LookupError(CANARY)

    async def post(self) -> None:
        await self.finish({"never": CANARY["no such place"]})  # type: ignore[index]


class BrokenLater(BaseHandler):
    """Fails when half of its answer is out."""

    public = True

    async def get(self) -> None:
        self.write("half")
        await self.flush()
        raise LookupError(CANARY)


class Quoting(BaseHandler):
    """Its exception quotes all that the request came with but what was said."""

    public = True

    async def get(self) -> None:
        raise LookupError(f"{self.request.uri} {dict(self.request.headers)} {self.request.cookies}")


class BrokenSimpleChat(SimpleChatHandler):
    """The same in a family with errors of another shape."""

    public = True

    async def get(self) -> None:
        raise LookupError(CANARY)


@pytest.fixture
def client(io_loop: IOLoop, tmp_path: Path) -> Iterator[Client]:
    routes = (r"/broken", Broken), (r"/later", BrokenLater), (r"/user/broken", BrokenSimpleChat), (r"/quoting", Quoting)
    context = serving(tmp_path, *routes)
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


async def test_an_answer_that_breaks_off_does_not_look_whole(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """The body has no end, and the log says what went wrong."""
    caplog.set_level(logging.INFO, logger="streamproxy.access")
    connection = await client.send("GET", "/later")
    assert (await connection.head()).status == 200
    assert await connection.piece() == b"half"
    with pytest.raises(ConnectionError):
        await connection.piece()
    connection.leave()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR]
    (line,) = [vars(record)["fields"] for record in caplog.records if record.name == "streamproxy.access"]
    assert line["error"] == "internal_error"


async def test_a_defect_in_a_family_has_that_familys_shape(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    answer = await client.ask("GET", "/user/broken")
    assert answer.status == 500
    assert set(answer.json) == {"detail", "code"}
    assert CANARY.encode() not in answer.body
    assert [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_no_credential_of_a_request_is_in_a_defects_traceback(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    with root_logger_kept():
        setup_logging("INFO", "json")
        headers = {"authorization": f"Bearer {CANARY}", "x_api_key": CANARY, "cookie": f"streamproxy={CANARY}"}
        for query in ("ticket", "token", "apiKey", "api_key", "password"):
            assert (await client.ask("GET", f"/quoting?{query}={CANARY}", **headers)).status == 500
    said = capsys.readouterr().err
    assert said.count("LookupError: /quoting") == 5
    assert CANARY not in said
