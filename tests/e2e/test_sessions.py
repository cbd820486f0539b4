"""CONTRACTS A4 over HTTP, on four workers: whose context goes where, in which order, and what a cut leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from streamproxy.domain.sessions import SessionRef
from streamproxy.stores.redis import queue_keys
from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Person, Server
from tests.e2e.talk import acknowledge, acknowledged, ask, assistant, begin, newest, system, told, user
from tests.support.steps import Step, drop, error_of, fin, finish, gate, reply, say, stall
from tests.support.upstream import ScriptedUpstream

WORKERS = 4


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    """Four workers, each at its own port, so that a test decides who answers."""
    return launch(workers=WORKERS, port_per_worker=True)


@pytest.fixture(autouse=True)
def sound(server: Server, upstream: ScriptedUpstream) -> Iterator[None]:
    upstream.script(acknowledge())
    yield
    server.check_log()


async def waiting(server: Server, person: Person, session: str) -> int:
    """How many turns queue for the session."""
    async with server.redis() as redis:
        return int(await redis.zcard(queue_keys(SessionRef(person.id, session))[0]))


async def test_sixteen_users_at_once_find_their_own_first_turn_and_nothing_else(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """All in a session of the same name; the second turn goes to another worker than the first."""
    people = await server.people(16)

    async def converse(number: int, person: Person) -> None:
        for turn in (0, 1):
            client = speak(server, person, worker=number + turn)
            assert (await ask(client, f"{person.name} says {turn}", "main")).status == 200

    await asyncio.gather(*(converse(*numbered) for numbered in enumerate(people)))
    assert len(upstream.requests) == 32
    by_question = {newest(request): told(request) for request in upstream.requests}
    for person in people:
        first, second = (f"{person.name} says {turn}" for turn in (0, 1))
        assert by_question[first] == [user(first)]
        assert by_question[second] == [user(first), assistant(acknowledged(first)), user(second)]


async def test_the_session_of_another_principal_with_the_same_id_reaches_nothing(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    alice, mallory = await server.people(2)
    await ask(speak(server, alice), "My secret is 4711.", "shared")
    answer = await ask(speak(server, mallory), "What is the secret?", "shared")
    assert "4711" not in answer.text()
    assert told(upstream.requests[-1]) == [user("What is the secret?")]


async def test_other_sessions_and_calls_without_one_see_no_context(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    client = speak(server, person)
    await ask(client, "In the first.", "one")
    await ask(client, "In the second.", "two")
    await ask(client, "In none.")
    assert [told(request) for request in upstream.requests[1:]] == [[user("In the second.")], [user("In none.")]]
    await ask(client, "In the first again.", "one")
    assert [message["content"] for message in told(upstream.requests[-1])] == [
        "In the first.",
        acknowledged("In the first."),
        "In the first again.",
    ]


async def test_two_turns_at_once_reach_the_upstream_in_order_with_the_first_answer_in_the_second(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """On two workers: the second waits until the first has ended, not only until it has begun."""
    (person,) = await server.people(1)
    go_on = asyncio.Event()
    upstream.once(say("The answer "), gate(go_on), say("to one."), finish())
    first = await begin(speak(server, person, worker=0), "one", "ordered")
    await upstream.request()
    second = await begin(speak(server, person, worker=1), "two", "ordered")
    await until(lambda: waiting(server, person, "ordered"), "the second turn waits")
    assert len(upstream.requests) == 1
    go_on.set()
    assert (await first.reply()).text() == "The answer to one."
    assert (await second.reply()).text() == acknowledged("two")
    assert told(upstream.requests[1]) == [user("one"), assistant("The answer to one."), user("two")]


async def test_many_turns_at_once_come_out_in_the_order_in_which_they_came(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    go_on = asyncio.Event()
    upstream.once(gate(go_on), acknowledge())
    turns = [await begin(speak(server, person), "turn 0", "queue")]
    await upstream.request()
    for number in range(1, 7):
        turns.append(await begin(speak(server, person, worker=number), f"turn {number}", "queue"))

        async def queued(count: int = number) -> bool:
            return await waiting(server, person, "queue") == count

        await until(queued, "the turn waits")
    go_on.set()
    await asyncio.gather(*(turn.reply() for turn in turns))
    assert [newest(request) for request in upstream.requests] == [f"turn {number}" for number in range(7)]
    assert [len(told(request)) for request in upstream.requests] == [2 * number + 1 for number in range(7)]


async def test_a_turn_that_has_waited_gives_up_its_place_when_its_client_leaves(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    go_on = asyncio.Event()
    upstream.once(gate(go_on), acknowledge())
    first = await begin(speak(server, person), "one", "left")
    await upstream.request()
    impatient = await begin(speak(server, person, worker=1), "two", "left")
    await until(lambda: waiting(server, person, "left"), "the second turn waits")
    impatient.leave()

    async def nobody() -> bool:
        return not await waiting(server, person, "left")

    await until(nobody, "the second turn has left the queue")
    go_on.set()
    await first.reply()
    await ask(speak(server, person, worker=2), "three", "left")
    assert told(upstream.requests[1]) == [user("one"), assistant(acknowledged("one")), user("three")]


@pytest.mark.parametrize("cut", [drop(), fin()], ids=["RST", "FIN"])
async def test_what_was_said_before_the_upstream_died_is_in_the_next_prompt(
    server: Server, speak: Speak, upstream: ScriptedUpstream, cut: Step
) -> None:
    (person,) = await server.people(1)
    upstream.once(say("The first half"), cut)
    answer = await ask(speak(server, person), "Tell me all.", "cut")
    assert "error" in answer.chunks()[-1]
    await ask(speak(server, person, worker=1), "Go on.", "cut")
    assert told(upstream.requests[-1]) == [user("Tell me all."), assistant("The first half"), user("Go on.")]


async def test_what_was_said_before_the_client_left_is_in_the_next_prompt(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """C5: an answer that a disconnect cut off is still in the context."""
    (person,) = await server.people(1)
    upstream.once(say("The first half"), stall())
    stream = await begin(speak(server, person), "Tell me all.", "left")
    await stream.head()
    assert b"The first half" in await stream.frame()
    stream.leave()
    async with asyncio.timeout(5):
        await (await upstream.request()).left
    await ask(speak(server, person, worker=1), "Go on.", "left")
    assert told(upstream.requests[-1]) == [user("Tell me all."), assistant("The first half"), user("Go on.")]


@pytest.mark.parametrize(
    "script", [(reply(500, error_of("x")),), (reply(400, error_of("x")),), (drop(),)], ids=["500", "400", "drop"]
)
async def test_a_turn_that_failed_before_its_first_event_leaves_no_trace(
    server: Server, speak: Speak, upstream: ScriptedUpstream, script: tuple[Step, ...]
) -> None:
    (person,) = await server.people(1)
    upstream.script(*script)
    assert (await ask(speak(server, person), "lost", "trace")).status in (400, 502)
    upstream.script(acknowledge())
    await ask(speak(server, person, worker=1), "kept", "trace")
    assert told(upstream.requests[-1]) == [user("kept")]


async def test_a_turn_whose_client_left_before_its_first_event_leaves_no_trace(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.once(stall())
    turn = await begin(speak(server, person), "lost", "trace")
    request = await upstream.request()
    turn.leave()
    await request.left
    await ask(speak(server, person, worker=1), "kept", "trace")
    assert told(upstream.requests[-1]) == [user("kept")]


async def test_the_system_message_stays_first_and_a_newer_one_wins(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    firsts = []
    for number, instruction in enumerate([system("Be brief."), None, system("Be long."), None]):
        messages = [user(f"question {number}")] if instruction is None else [instruction, user(f"question {number}")]
        client = speak(server, person, worker=number)
        await ask(client, "", "instructed", messages=messages)
        roles = [message["role"] for message in told(upstream.requests[-1])]
        assert roles == ["system", *["user", "assistant"] * number, "user"]
        firsts.append(told(upstream.requests[-1])[0])
    assert firsts == [system("Be brief."), system("Be brief."), system("Be long."), system("Be long.")]


async def test_an_answer_that_is_not_streamed_is_a_turn_like_any_other(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.once(reply(200, {"choices": [{"index": 0, "message": assistant("Whole."), "finish_reason": "stop"}]}))
    await ask(speak(server, person), "one", "whole", stream=False)
    await ask(speak(server, person, worker=1), "two", "whole")
    assert told(upstream.requests[-1]) == [user("one"), assistant("Whole."), user("two")]


async def test_the_answer_names_its_session_whatever_becomes_of_it(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    longest = "A-Za-z0-9._:-" + 51 * "x"
    for session in ("a", longest):
        for stream in (True, False):
            upstream.once(*((acknowledge(),) if stream else (reply(200, {"choices": []}),)))
            assert (await ask(speak(server, person), "x", session, stream=stream)).head.get("X-Session-Id") == session
    upstream.script(reply(500, error_of("x")))
    assert (await ask(speak(server, person), "x", "failing")).head.get("X-Session-Id") == "failing"
    assert (await ask(speak(server, person), "x")).head.get("X-Session-Id") is None


@pytest.mark.parametrize("session", ["two words", "a/b", 65 * "x", "caf\xe9", "{x}", "a,b"])
async def test_what_is_no_session_id_is_refused_and_costs_nothing(
    server: Server, speak: Speak, upstream: ScriptedUpstream, session: str
) -> None:
    (person,) = await server.people(1)
    answer = await ask(speak(server, person), "x", session)
    assert answer.status == 400
    assert answer.json["error"]["code"] == "invalid_session_id"
    assert not upstream.requests
