"""Token windows: reserved before the call, settled after it, and an answer that outgrows them ends well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from streamproxy.domain.sessions import SessionRef
from streamproxy.domain.tokens import count_message, count_messages
from streamproxy.stores.redis import said_key
from streamproxy.tokenizer import DEFAULT_ENCODING, SHIPPED, EncodingCounter, read_encoding
from tests.e2e.conftest import Launch, Speak
from tests.e2e.server import Server
from tests.e2e.talk import acknowledge, ask, assistant, user
from tests.support.http import Reply
from tests.support.steps import Answer, done, drop, error_of, finish, gate, reply, say, usage
from tests.support.upstream import ScriptedUpstream

TOKENS = 100
REQUESTS = 6


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    """A hundred tokens a minute, prompts and answers together."""
    return launch(workers=2, port_per_worker=True, LIMITS__TOKENS=f"{TOKENS}/min", LIMITS__REQUESTS=f"{REQUESTS}/min")


@pytest.fixture(autouse=True)
def sound(server: Server, upstream: ScriptedUpstream) -> Iterator[None]:
    upstream.script(acknowledge())
    yield
    server.check_log()


@pytest.fixture(scope="module")
def counter() -> EncodingCounter:
    return EncodingCounter(read_encoding(DEFAULT_ENCODING, SHIPPED))


def prompt_of(size: int, counter: EncodingCounter) -> str:
    """A text whose prompt is *size* tokens."""
    text = "word"
    while count_messages([user(text)], counter) < size:
        text += " word"
    return text


def left(answer: Reply, unit: str = "tokens") -> int:
    """What an answer says is left of the limit."""
    return int(answer.head.get(f"x-ratelimit-remaining-{unit}") or "missing")


SIZES: dict[str, tuple[int, dict[str, Any]]] = {
    "prompt 10, max_tokens 50": (10, {"max_tokens": 50}),
    "prompt 10, max_completion_tokens 50": (10, {"max_completion_tokens": 50}),
    "prompt 58, no maximum": (58, {}),
}


@pytest.mark.parametrize(("prompt", "fields"), SIZES.values(), ids=SIZES.keys())
async def test_five_at_once_of_sixty_tokens_admit_exactly_one(
    server: Server,
    speak: Speak,
    upstream: ScriptedUpstream,
    counter: EncodingCounter,
    prompt: int,
    fields: dict[str, Any],
) -> None:
    """While it runs its place is taken by what was reserved; all are asked before it ends."""
    (person,) = await server.people(1)
    go_on = asyncio.Event()
    upstream.script(gate(go_on), say("Yes."), finish(), usage(prompt, 60 - prompt), done())
    text = prompt_of(prompt, counter)
    tasks = [asyncio.create_task(ask(speak(server, person, worker=i), text, **fields)) for i in range(5)]
    refused = [await task for task in await first_four(tasks)]
    assert [answer.status for answer in refused] == [429] * 4
    assert {answer.json["error"]["code"] for answer in refused} == {"rate_limit_exceeded"}
    assert all(int(answer.head.get("Retry-After") or 0) >= 1 for answer in refused)
    go_on.set()
    answers = await asyncio.gather(*tasks)
    assert sorted(answer.status for answer in answers) == [200] + [429] * 4
    assert len(upstream.requests) == 1


async def first_four(tasks: list[asyncio.Task[Reply]]) -> list[asyncio.Task[Reply]]:
    """The four that are answered while the fifth runs."""
    finished = asyncio.as_completed(tasks)
    for _, answer in zip(range(4), finished, strict=False):
        await answer
    return [task for task in tasks if task.done()]


async def test_what_was_reserved_too_much_is_given_back_at_the_end(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """The upstream says 12 tokens: 88 are left for the next one, of which its reservation takes what it needs."""
    (person,) = await server.people(1)
    upstream.script(say("Yes."), finish(), usage(7, 5), done())
    first = await ask(speak(server, person), "Hi", max_tokens=90)
    assert first.status == 200
    assert left(first) < 10
    second = await ask(speak(server, person, worker=1), "Hi", max_tokens=20)
    assert 50 < left(second) < TOKENS - 12 - 20


async def test_what_the_limit_of_tokens_refuses_costs_no_request_and_no_tokens(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """All limits or none."""
    (person,) = await server.people(1)
    for worker in (0, 1, 0):
        refused = await ask(speak(server, person, worker=worker), "Hi", max_tokens=TOKENS)
        assert refused.status == 429
        assert (left(refused), left(refused, "requests")) == (TOKENS, REQUESTS)
    admitted = await ask(speak(server, person), "Hi", max_tokens=10)
    assert left(admitted, "requests") == REQUESTS - 1
    assert len(upstream.requests) == 1


async def test_what_the_limit_of_requests_refuses_costs_no_tokens(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.script(say("Yes."), finish(), usage(1, 1), done())
    for _ in range(REQUESTS):
        assert (await ask(speak(server, person), "Hi", max_tokens=1)).status == 200
    refused = [await ask(speak(server, person, worker=number), "Hi", max_tokens=1) for number in range(3)]
    assert [answer.status for answer in refused] == [429] * 3
    assert {left(answer) for answer in refused} == {TOKENS - 2 * REQUESTS}


async def test_a_failure_before_the_first_event_gives_the_tokens_back(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    for number, script in enumerate((reply(500, error_of("x")), drop(), reply(400, error_of("x")))):
        upstream.script(script)
        answer = await ask(speak(server, person, worker=number), "Hi", max_tokens=90)
        assert answer.status in (400, 502)
    upstream.script(acknowledge())
    answer = await ask(speak(server, person), "Hi", max_tokens=90)
    assert answer.status == 200
    assert left(answer, "requests") == REQUESTS - 1


async def endless(answer: Answer) -> None:
    """An upstream that would talk for ever."""
    while not answer.request.left.done():
        await say(" more")(answer)


async def test_where_the_tokens_end_inside_an_answer_the_stream_ends_validly_and_the_upstream_is_closed(
    server: Server, speak: Speak, upstream: ScriptedUpstream, counter: EncodingCounter
) -> None:
    (person,) = await server.people(1)
    upstream.script(endless)
    answer = await ask(speak(server, person), "Talk.", stream_options={"include_usage": True})
    chunks = answer.chunks()
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]][-1] == "length"
    assert len({chunk["id"] for chunk in chunks}) == 1
    spent = chunks[-1]["usage"]
    assert spent["prompt_tokens"] == count_messages([user("Talk.")], counter)
    assert spent["completion_tokens"] == counter.count(answer.text())
    assert TOKENS - 10 <= spent["total_tokens"] <= TOKENS
    async with asyncio.timeout(5):
        await (await upstream.request()).left
    (row,) = await server.usage(person)
    assert (row["end_reason"], row["estimated"]) == ("budget", True)
    assert row["prompt_tokens"] + row["completion_tokens"] == spent["total_tokens"]
    assert (await server.history(person))[-1]["message"]["content"] == answer.text()
    refused = await ask(speak(server, person, worker=1), "Talk.")
    assert refused.status == 429
    assert left(refused) == TOKENS - spent["total_tokens"]


async def test_an_answer_may_use_all_that_is_left_beyond_its_first_reservation(
    server: Server, speak: Speak, upstream: ScriptedUpstream, counter: EncodingCounter
) -> None:
    """max_tokens is the upstream's business; an upstream that says more is let say it while there is room."""
    (person,) = await server.people(1)
    upstream.script(*(say("word ") for _ in range(30)), finish(), usage(8, 30), done())
    answer = await ask(speak(server, person), "Talk.", max_tokens=5)
    assert answer.text() == 30 * "word "
    assert answer.chunks()[-1]["choices"][0]["finish_reason"] == "stop"


async def test_an_answer_that_the_budget_cut_is_kept_in_its_session(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """As far as the client has it."""
    (person,) = await server.people(1)
    upstream.script(endless)
    answer = await ask(speak(server, person), "Talk.", "budget")
    async with server.redis() as redis:
        (turn,) = await redis.lrange(said_key(SessionRef(person.id, "budget")), 0, -1)
    assert json.loads(f"[{turn}]") == [user("Talk."), assistant(answer.text())]


async def test_a_context_that_is_expected_is_reserved_with_the_question(
    server: Server, speak: Speak, upstream: ScriptedUpstream, counter: EncodingCounter
) -> None:
    """One step takes both, and where the window has room for the question alone it is admitted all the same."""
    (person,) = await server.people(1)
    upstream.script(say("one two"), finish(), usage(10, 2), done())
    await ask(speak(server, person), "Talk.", "expected", max_tokens=10)
    context = sum(count_message(message, counter) for message in (user("Talk."), assistant("one two")))
    question = count_messages([user("More.")], counter)
    second = await ask(speak(server, person), "More.", "expected", max_tokens=10)
    assert left(second) == TOKENS - 12 - question - 10 - context
    room = TOKENS - 24
    third = await ask(speak(server, person), "More.", "expected", max_tokens=room - question)
    assert (third.status, left(third)) == (200, 0)


@pytest.mark.parametrize(("size", "times"), [(6_000, 0), (20_000, 1)])
async def test_an_answer_of_usual_length_is_admitted_and_settled_and_asks_for_nothing_in_between(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream, size: int, times: int
) -> None:
    """While windows are mostly free: tokens for it are taken in the step that admits it. What is longer asks once."""
    server = launch(LIMITS__TOKENS="1000000/h")
    (person,) = await server.people(1)
    upstream.script(*[say("x" * 100)] * (size // 100), finish(), usage(7, 5), done())
    answer = await ask(speak(server, person), "Talk.")
    assert len(answer.text()) == size
    async with server.redis() as client:
        # What a request took is remembered for a minute, and what an extension of it took by a name of its own.
        names = [name async for name in client.scan_iter(match="*:request:*")]
    assert len([name for name in names if "+" in name]) == times
    assert len(names) == 1 + times
    server.check_log()
