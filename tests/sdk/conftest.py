"""Both SDKs, and a way to start calls that are ended with the test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import pytest
from tornado.ioloop import IOLoop

from tests.sdk.drivers import NODE_FOLDER, Call, Job, NodeSdk, PythonSdk, Sdk
from tests.support.http import Client
from tests.support.npm import installed

StartCall: TypeAlias = Callable[..., Awaitable[Call]]


@pytest.fixture(scope="session", params=["python", "node"])
def sdk(request: pytest.FixtureRequest) -> Sdk:
    """openai-python and openai-node, one after the other."""
    if request.param == "python":
        return PythonSdk()
    with installed(NODE_FOLDER):
        return NodeSdk()


@pytest.fixture
def start(io_loop: IOLoop, sdk: Sdk) -> Iterator[StartCall]:
    """Start a call as the caller of *client*: ``await start(client, params, mode=…)``."""
    calls: list[Call] = []

    async def begin(client: Client, params: dict[str, Any], **how: Any) -> Call:
        assert client.bearer
        call = await sdk.start(Job(client.port, how.pop("api_key", client.bearer), params, **how))
        calls.append(call)
        return call

    async def close() -> None:
        for call in calls:
            await call.close()

    yield begin
    io_loop.run_sync(close)
