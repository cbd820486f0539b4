"""CONTRACTS A2: what a 429 says, in the three spellings that clients read."""

from __future__ import annotations

import asyncio
import re

from tests.contract.shapes import assert_error
from tests.support.http import Client, Reply
from tests.support.steps import error_of, reply
from tests.support.upstream import ScriptedUpstream

# draft-ietf-httpapi-ratelimit-headers: lists of strings with parameters.
RATE_LIMIT = re.compile(r'"[^"]+"(;(r|t)=\d+)+(, "[^"]+"(;(r|t)=\d+)+)*')
POLICY = re.compile(r'"[^"]+"(;(q|w|qu)=[^;,]+)+(, "[^"]+"(;(q|w|qu)=[^;,]+)+)*')
# OpenAI writes durations such as 1s, 120ms, 6m0s, 1h2m3s.
DURATION = re.compile(r"(\d+h)?(\d+m)?(\d+(\.\d+)?s)?(\d+ms)?")


async def refused(client: Client) -> Reply:
    """Use up the two requests of a minute; return the third answer."""
    assert (await client.chat()).status == 200
    assert (await client.chat()).status == 200
    return await client.chat()


async def test_beyond_the_window_an_answer_is_a_429_that_costs_nothing(
    strict: Client, upstream: ScriptedUpstream
) -> None:
    answer = await refused(strict)
    error = assert_error(answer, 429)
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert len(upstream.requests) == 2
    assert answer.head.get("X-Should-Retry") != "false"


async def test_a_429_has_an_integer_retry_after(strict: Client, upstream: ScriptedUpstream) -> None:
    """SDKs obey it exactly: up to a minute, in a window of one."""
    assert 1 <= int((await refused(strict)).head.get("Retry-After") or "missing") <= 60


async def test_who_obeys_retry_after_is_admitted(brief: Client, upstream: ScriptedUpstream) -> None:
    """Two at once, of which one has to wait."""
    answers = await asyncio.gather(brief.chat(), brief.chat())
    (refusal,) = [answer for answer in answers if answer.status == 429]
    await asyncio.sleep(int(refusal.head.get("Retry-After") or "missing"))
    assert (await brief.chat("again")).text() == "again"


async def test_a_429_has_the_fields_of_the_ietf_draft(strict: Client, upstream: ScriptedUpstream) -> None:
    head = (await refused(strict)).head
    limit, policy = head.get("RateLimit") or "", head.get("RateLimit-Policy") or ""
    assert RATE_LIMIT.fullmatch(limit), limit
    assert POLICY.fullmatch(policy), policy
    assert "r=0" in limit
    assert "q=2" in policy
    assert "w=60" in policy


async def test_a_429_has_the_fields_of_openai(strict: Client, upstream: ScriptedUpstream) -> None:
    head = (await refused(strict)).head
    assert head.get("x-ratelimit-limit-requests") == "2"
    assert head.get("x-ratelimit-remaining-requests") == "0"
    reset = head.get("x-ratelimit-reset-requests") or ""
    assert reset
    assert DURATION.fullmatch(reset), reset


async def test_an_admitted_answer_says_what_remains(strict: Client, upstream: ScriptedUpstream) -> None:
    """Streams too: their head is written when the place is already taken."""
    first, second = await strict.chat(), await strict.chat(stream=False)
    assert first.head.get("x-ratelimit-remaining-requests") == "1"
    assert second.head.get("x-ratelimit-remaining-requests") == "0"


async def test_what_an_sdk_retries_is_not_charged_twice(strict: Client, upstream: ScriptedUpstream) -> None:
    """A failure of the upstream before the first event gives the request back."""
    upstream.script(reply(500, error_of("x")))
    for _ in range(4):
        assert_error(await strict.chat(), 502)


async def test_a_refused_request_is_not_counted(strict: Client, upstream: ScriptedUpstream) -> None:
    """Neither are those that were no requests at all."""
    for _ in range(4):
        assert_error(await strict.ask("POST", "/v1/chat/completions", {"messages": 1}), 400)
    assert (await strict.chat()).status == 200
