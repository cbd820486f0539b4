"""What a stranger could make grow is bounded: bytes, events, readers, resumes, keys of requests."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from itertools import chain

import pytest

from streamproxy.services.livestream import MOST_EVENTS_OF_A_STREAM
from streamproxy.services.readers import MOST_READERS
from streamproxy.stores.redis import idempotency_key
from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Server
from tests.streams.events import Reading, ending, open_events, start, text, until_recorded
from tests.support.steps import Answer, Step, done, error_of, finish, raw, reply, say, stall
from tests.support.upstream import ScriptedUpstream

MAX_BYTES = 65_536


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    return launch(workers=2, port_per_worker=True, STREAMS__MAX_BYTES=str(MAX_BYTES))


@pytest.fixture(autouse=True)
def sound(server: Server) -> Iterator[None]:
    yield
    server.check_log()


def seen(readings: list[Reading], count: int) -> Step:
    """Go on when the first of *readings* has *count* events: a bound is noticed by the read, which brings one step."""

    async def wait(_answer: Answer) -> None:
        await until(lambda: readings and len(readings[0].events) >= count, f"the reader has {count} events")

    return wait


@pytest.mark.parametrize("worker", [0, 1])
async def test_an_answer_of_too_many_bytes_is_cut_and_says_so(
    server: Server, speak: Speak, upstream: ScriptedUpstream, worker: int
) -> None:
    """Within the bound it is delivered; the upstream is closed; the receipt has the reason."""
    (person,) = await server.people(1)
    client = speak(server, person, worker=worker)
    readings: list[Reading] = []
    steps = [(say("x" * 4000), seen(readings, number)) for number in range(1, 21)]
    upstream.script(*chain.from_iterable(steps), stall())
    stream = await start(speak(server, person))
    readings.append(await open_events(client, stream["events_url"]))
    events = await readings[0].to_the_end()
    name, told = ending(events)
    assert (name, told["error"]["code"]) == ("failed", "output_too_large")
    assert len(text(events)) <= MAX_BYTES + 4000
    await (await upstream.request()).left
    receipt = await client.ask("GET", f"/v1/streams/{stream['id']}")
    assert receipt.json["error_code"] == "output_too_large"


async def test_an_answer_of_too_many_events_is_cut_and_says_so(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    server = launch(STREAMS__MAX_BYTES=str(1 << 30))
    (person,) = await server.people(1)
    line = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    readings: list[Reading] = []
    steps = [(raw(line * 1000), seen(readings, 1000 * n)) for n in range(1, MOST_EVENTS_OF_A_STREAM // 1000 + 2)]
    upstream.script(*chain.from_iterable(steps), stall())
    stream = await start(speak(server, person))
    readings.append(await open_events(speak(server, person), stream["events_url"]))
    events = await readings[0].to_the_end()
    name, told = ending(events)
    assert (name, told["error"]["code"]) == ("failed", "output_too_large")
    assert len(events) <= MOST_EVENTS_OF_A_STREAM + 1001


@pytest.mark.parametrize("worker", [0, 1])
async def test_one_reader_too_many_is_refused_until_one_leaves(
    server: Server, speak: Speak, upstream: ScriptedUpstream, worker: int
) -> None:
    """On the worker that runs it and on another; a status, not a broken stream."""
    (person,) = await server.people(1)
    client = speak(server, person, worker=worker)
    upstream.script(say("One"), stall())
    stream = await start(speak(server, person))
    readings = [await open_events(client, stream["events_url"]) for _ in range(MOST_READERS)]
    assert {reading.status for reading in readings} == {200}
    refused = await client.ask("GET", stream["events_url"])
    assert (refused.status, refused.json["error"]["code"]) == (429, "too_many_readers")
    readings[0].connection.leave()
    async with asyncio.timeout(20):
        while (await open_events(client, stream["events_url"])).status != 200:
            pass


async def test_too_many_resumes_are_refused_and_questions_are_not(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """Thirty a minute, counted over all workers."""
    (person,) = await server.people(1)
    upstream.script(say("One"), finish(), done())
    stream = await start(speak(server, person))
    last = (await (await open_events(speak(server, person), stream["events_url"])).to_the_end())[-1].id or ""
    await until_recorded(server, stream["id"])
    answers = await asyncio.gather(
        *(
            speak(server, person, worker=number % 2).ask("GET", stream["events_url"], last_event_id=last)
            for number in range(31)
        )
    )
    assert sorted(answer.status for answer in answers) == [204] * 30 + [429]
    (refused,) = [answer for answer in answers if answer.status == 429]
    assert refused.json["error"]["code"] == "rate_limit_exceeded"
    assert int(refused.head.get("Retry-After") or "missing") >= 1
    assert (await speak(server, person).chat()).status == 200


async def test_an_idempotency_key_stands_for_its_body(server: Server, speak: Speak, upstream: ScriptedUpstream) -> None:
    """The same body is told of the same stream, on any worker; another is refused; other users have their own keys."""
    person, other = await server.people(2)
    upstream.script(say("One"), stall())
    key = {"idempotency_key": "k"}
    stream = await start(speak(server, person), "first", headers=key)
    again = await start(speak(server, person, worker=1), "first", headers=key)
    assert again["id"] == stream["id"]
    body = {"model": "scripted", "messages": [{"role": "user", "content": "second"}]}
    refused = await speak(server, person, worker=1).ask("POST", "/v1/streams", body, **key)
    assert (refused.status, refused.json["error"]["code"]) == (400, "idempotency_key_reused")
    theirs = await start(speak(server, other), "second", headers=key)
    assert theirs["id"] != stream["id"]
    for asked in ("first", "second"):
        assert (await upstream.request()).json["messages"][-1]["content"] == asked
    assert len(upstream.requests) == 2


async def test_a_key_whose_stream_did_not_begin_is_free_again(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """Refused for its model, which no upstream serves, the key may be used for another."""
    (person,) = await server.people(1)
    upstream.script(reply(500, error_of("never asked")))
    key = {"idempotency_key": "k"}
    body = {"model": "nobody", "messages": [{"role": "user", "content": "x"}]}
    assert (await speak(server, person).ask("POST", "/v1/streams", body, **key)).status == 404
    upstream.script(say("One"), finish(), done())
    stream = await start(speak(server, person), headers=key)
    assert text(await (await open_events(speak(server, person), stream["events_url"])).to_the_end()) == "One"


async def test_a_key_is_kept_for_a_day_once_its_stream_has_begun(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """And for seconds before that, so that a worker that dies meanwhile does not block it."""
    (person,) = await server.people(1)
    upstream.script(say("One"), stall())
    await start(speak(server, person), headers={"idempotency_key": "k"})
    name = idempotency_key(person.id, hashlib.sha256(b"k").hexdigest())
    async with server.redis() as redis:
        assert 86_000 < await redis.ttl(name) <= 86_400


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_malformed_idempotency_key_is_refused(
    server: Server, speak: Speak, upstream: ScriptedUpstream, key: str
) -> None:
    (person,) = await server.people(1)
    connection = await speak(server, person).connect()
    body = b'{"model":"scripted","messages":[{"role":"user","content":"x"}]}'
    head = (
        f"POST /v1/streams HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.bearer}\r\nIdempotency-Key: {key}\r\n"
    )
    await connection.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await connection.reply()
    assert (answer.status, answer.json["error"]["param"]) == (400, "Idempotency-Key")
    assert not upstream.requests
