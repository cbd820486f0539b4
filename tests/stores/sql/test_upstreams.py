"""Upstreams in SQL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamproxy.domain.keypool import Upstream
from streamproxy.domain.limits import LimitPolicy, Window
from streamproxy.domain.ports import StoredUpstream
from streamproxy.domain.quirks import Quirks
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.upstreams import SqlUpstreams

PLAIN = StoredUpstream(Upstream("plain", "openai", "https://plain.example/v1", {"*": "*"}))
FULL = StoredUpstream(
    Upstream(
        "full",
        "azure",
        "https://full.example",
        {"gpt-4o": "deployment-1", "模型-*": "*"},
        priority=2,
        weight=5,
        quirks=Quirks(api_version="2026-01-01", send_stream_options=False, drop_fields=("logit_bias",)),
        allow_private=True,
    ),
    LimitPolicy((Window(500, 60),), (Window(90_000, 60),), 4),
)


@pytest.fixture
def upstreams(database: Database) -> SqlUpstreams:
    return SqlUpstreams(database)


async def test_upstreams_come_back_as_they_were_put_in_order_of_name(upstreams: SqlUpstreams) -> None:
    await upstreams.put(PLAIN)
    await upstreams.put(FULL)
    assert await upstreams.all() == [FULL, PLAIN]


async def test_putting_one_again_replaces_it(upstreams: SqlUpstreams) -> None:
    await upstreams.put(PLAIN)
    moved = StoredUpstream(replace(PLAIN.upstream, base_url="https://moved.example/v1"))
    await upstreams.put(moved)
    assert await upstreams.all() == [moved]


async def test_a_removed_one_is_gone(upstreams: SqlUpstreams) -> None:
    await upstreams.put(PLAIN)
    assert await upstreams.remove("plain") is True
    assert await upstreams.remove("plain") is False
    assert await upstreams.all() == []
