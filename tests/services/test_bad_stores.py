"""What must not fail, or not grow, because a store does not answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from streamproxy.domain.limits import Ask, LimitPolicy, Window
from streamproxy.errors import RateLimitError, StoreUnavailableError
from streamproxy.services.admission import Admission, OnRedisDown
from streamproxy.services.chat import ChatService
from streamproxy.services.claims import Claims
from streamproxy.stores.local import LocalLimits
from streamproxy.stores.redis.connect import open_redis
from streamproxy.stores.redis.limits import RedisLimits

STREAM = "st_AAAAAAAAAAAAAAAAAAAAAA"


def claims_whose_store_falls_silent() -> Claims:
    """It has bound the key, and then answers no more."""

    async def bound(_user_id: str, _key: str, stream_id: str, digest: str) -> tuple[str, str]:
        return stream_id, digest

    async def away(*_: object) -> None:
        raise StoreUnavailableError("away")

    store: Any = SimpleNamespace(claim=bound, keep_claim=away, release=away)
    sources: Any = None
    return Claims(store=store, sources=sources)


async def test_a_stream_that_has_begun_is_told_though_its_key_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    async with claims_whose_store_falls_silent().claimed("u_1", "key", stream_id=STREAM, body=b"{}") as claim:
        assert (claim.stream_id, claim.first) == (STREAM, True)
    assert "Idempotency-Key" in caplog.text


async def test_why_a_stream_did_not_begin_is_told_and_not_that_its_key_is_not_freed() -> None:
    with pytest.raises(RateLimitError):
        async with claims_whose_store_falls_silent().claimed("u_1", "key", stream_id=STREAM, body=b"{}"):
            raise RateLimitError("Too many.", retry_after=1)


async def test_what_only_counts_leaves_nothing_in_this_workers_memory() -> None:
    """Readers come back again and again while Redis is away."""
    link = await open_redis("redis://127.0.0.1:1/0", timeout_seconds=0.05)
    local = LocalLimits(workers=1, zone=ZoneInfo("UTC"), clock=lambda: 100.0)
    policy = LimitPolicy(requests=(Window(3, 60),))
    limits = RedisLimits(link, zone=ZoneInfo("UTC"))
    admission = Admission(limits, fallback=local, policy=policy, on_redis_down=OnRedisDown.LOCAL)
    parts: Any = SimpleNamespace(admission=admission)
    chat = ChatService(parts)
    for number in range(3):
        await chat.count(Ask("u_1:reads", f"req_{number}", policy))
    assert not local._scopes["u_1:reads"].held
    with pytest.raises(RateLimitError):
        await chat.count(Ask("u_1:reads", "req_3", policy))
    await link.close()
