"""What a key may be used for is counted over all workers; a full key is passed over and stays healthy."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from tests.keys.conftest import DEAD, GOOD, NewProxy, error_code, metric, used
from tests.support.http import Client
from tests.support.proxy import ProxyProcess
from tests.support.steps import done, finish, gate, say
from tests.support.upstream import ScriptedUpstream

Caller = Callable[[ProxyProcess], Client]
FIRST, SECOND = DEAD, GOOD


async def test_requests_of_each_key_are_limited_over_all_workers(
    new_proxy: NewProxy, caller: Caller, upstream: ScriptedUpstream
) -> None:
    """Thirty at once on four workers: five by each key, and an honest 503 with the time to wait for the others."""
    proxy = new_proxy(FIRST, SECOND, UPSTREAM__KEY_REQUESTS="5/h", SERVER__WORKERS="4")
    client = caller(proxy)
    answers = await asyncio.gather(*(client.chat() for _ in range(30)))
    assert Counter(answer.status for answer in answers) == {200: 10, 503: 20}
    assert used(upstream) == {"dead": 5, "good": 5}
    refused = [answer for answer in answers if answer.status == 503]
    assert {error_code(answer) for answer in refused} == {"no_key_available"}
    assert all(3000 < int(answer.head.get("Retry-After") or 0) <= 3600 for answer in refused)
    assert {answer.head.get("X-Streamproxy-Attempts") for answer in refused} == {"0"}
    assert await metric(client, "streamproxy_keys", state="healthy") == 2


async def test_a_key_runs_only_so_many_answers_at_once(
    new_proxy: NewProxy, caller: Caller, upstream: ScriptedUpstream
) -> None:
    """The place is free again as soon as an answer has ended."""
    opened = asyncio.Event()
    upstream.script(say("first"), gate(opened), finish(), done())
    client = caller(new_proxy(FIRST, SECOND, UPSTREAM__KEY_STREAMS="1"))
    running = [await client.open_chat() for _ in range(2)]
    for stream in running:
        assert (await stream.head()).status == 200
    assert error_code(await client.chat()) == "no_key_available"
    assert used(upstream) == {"dead": 1, "good": 1}
    opened.set()
    for stream in running:
        assert [frame async for frame in stream.frames()]
    assert (await client.chat()).status == 200


async def test_tokens_of_a_key_are_reserved_and_settled(
    new_proxy: NewProxy, caller: Caller, upstream: ScriptedUpstream
) -> None:
    """Of five calls for 60 tokens each one is let through; what it did not use is there for the next."""
    proxy = new_proxy(FIRST, UPSTREAM__KEY_TOKENS="100/h", LIMITS__TOKENS="")
    client = caller(proxy)
    opened = asyncio.Event()
    upstream.script(say("one"), gate(opened), finish(), done())
    first = await client.open_chat(max_tokens=60)
    assert (await first.head()).status == 200
    refused = await asyncio.gather(*(client.chat(max_tokens=60) for _ in range(4)))
    assert [error_code(answer) for answer in refused] == ["no_key_available"] * 4
    opened.set()
    assert [frame async for frame in first.frames()]
    assert (await client.chat(max_tokens=60)).status == 200
