"""RELIABILITY U1 and U2: upstreams that no connection comes about to, with another one behind them and without."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from tests.support.http import Client
from tests.support.proxies import StartProxy
from tests.support.proxy import ProxyProcess
from tests.support.upstream import ScriptedUpstream
from tests.upstreams.conftest import QUESTION, Witness

KINDS = ("refuses", "black hole")
CODES = {"refuses": "upstream_unreachable", "black hole": "upstream_connect_timeout"}
STATUSES = {"refuses": 502, "black hole": 504}
STREAMED = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@contextlib.contextmanager
def nobody(kind: str) -> Iterator[int]:
    """A port where a connection is refused, or where the kernel answers none."""
    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        if kind == "black hole":
            bound.listen(0)
            for _ in range(4):
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect(bound.getsockname())
        yield int(bound.getsockname()[1])


def upstream_of(name: str, port: int, models: list[str], *, priority: int) -> str:
    """Its settings. So many keys that no test meets one that another test has made rest."""
    keys = [f"sk-{name}-{number:03}-0123456789" for number in range(200)]
    return (
        f'[[upstreams]]\nname = "{name}"\nbase_url = "http://127.0.0.1:{port}/v1"\npriority = {priority}\n'
        f"models = {json.dumps(models)}\napi_keys = {json.dumps(keys)}\n"
    )


@pytest.fixture(scope="module")
def unreachable_proxy(
    start_proxy: StartProxy, tmp_path_factory: pytest.TempPathFactory, upstream_socket: socket.socket
) -> Iterator[ProxyProcess]:
    """For the model of each kind an upstream of that kind is asked first; behind it the scripted one, or nobody."""
    with nobody("refuses") as refusing, nobody("black hole") as silent:
        path = tmp_path_factory.mktemp("settings") / "streamproxy.toml"
        parts = [
            upstream_of("refusing", refusing, ["refuses", "refuses-only"], priority=0),
            upstream_of("silent", silent, ["black hole", "black hole-only"], priority=0),
            upstream_of("scripted", upstream_socket.getsockname()[1], list(KINDS), priority=1),
        ]
        path.write_text("\n".join(parts))
        yield start_proxy(CONFIG=str(path), UPSTREAM__CONNECT_TIMEOUT="0.5")


@pytest.fixture
def witness(io_loop: IOLoop, unreachable_proxy: ProxyProcess, upstream: ScriptedUpstream) -> Iterator[Witness]:
    client = Client(unreachable_proxy.port, unreachable_proxy.bearer("tester"))
    yield Witness(unreachable_proxy, client, upstream)
    client.close()
    unreachable_proxy.check_log()


@STREAMED
@pytest.mark.parametrize("kind", KINDS)
async def test_another_upstream_answers(witness: Witness, kind: str, *, stream: bool) -> None:
    """Nothing was sent to the first, so nothing can be billed twice."""
    await witness.earn()
    outcome = await witness.ask(stream=stream, model=kind)
    assert (outcome.reply.status, outcome.code) == (200, None)
    assert outcome.requests == 1
    assert outcome.row is not None
    row = outcome.row
    assert (row["end_reason"], row["upstream"], row["attempts"]) == ("finish", "scripted", 2)
    assert outcome.session == [QUESTION, QUESTION]


@STREAMED
@pytest.mark.parametrize("kind", KINDS)
async def test_without_another_it_is_one_honest_error(witness: Witness, kind: str, *, stream: bool) -> None:
    """Told and entered by name, bounded in time, no trace in the session; no key is to blame."""
    await witness.earn()
    outcome = await witness.ask(stream=stream, model=f"{kind}-only")
    assert (outcome.reply.status, outcome.code) == (STATUSES[kind], CODES[kind])
    assert outcome.row is not None
    assert outcome.row["error_code"] == CODES[kind]
    assert 2 <= outcome.row["attempts"] <= 3
    assert (outcome.requests, outcome.session) == (0, [])
    assert not outcome.states
