"""Lists of models that cannot be read: what is named is listed all the same, and nobody asks again each time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from streamproxy.domain.keypool import Upstream
from streamproxy.services.models import ModelList

LISTS = {
    "no UTF-8": b'{"data":[{"id":"a\xff"}]}',
    "too deep": b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "no list": b"[]",
    "no JSON": b"<html>",
}


@pytest.mark.parametrize("body", LISTS.values(), ids=LISTS.keys())
async def test_what_is_named_is_listed_though_the_upstreams_list_cannot_be_read(body: bytes) -> None:
    asked = []

    async def answered(url: str, **_: object) -> Any:
        asked.append(url)
        pieces = [body, b""]

        async def batch() -> bytes:
            return pieces.pop(0)

        return SimpleNamespace(status=200, batch=batch, close=lambda: None)

    upstream = Upstream("default", "openai", "http://127.0.0.1:1/v1", {"gpt-4o-mini": "*", "*": "*"})
    keys: Any = SimpleNamespace(upstreams=[upstream], spokesman=lambda _: SimpleNamespace(secret="sk-x"))
    transport: Any = SimpleNamespace(open=answered)
    models = ModelList(keys, transport, clock=lambda: 100.0)
    for _ in range(2):
        assert [model.id for model in await models.all()] == ["gpt-4o-mini"]
    assert len(asked) == 1
