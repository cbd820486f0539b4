"""CONTRACTS family B: streams that EventSource can read, resumed anywhere, cancelled from anywhere."""

from __future__ import annotations

import asyncio

import pytest

from tests.streams.events import ending, numbers, open_events, start, text
from tests.support.http import Client, Reply
from tests.support.steps import Step, chunk_of, done, drop, event, finish, gate, reply, say, stall, usage
from tests.support.upstream import ScriptedUpstream

WORDS = [f"word{i} " for i in range(40)]
SENTENCE = "".join(WORDS)
# The opening event of each script here says the first word, the last chunk says why it ended.
EVENTS = len(WORDS) + 1


def spoken() -> tuple[Step, ...]:
    return (*(say(word) for word in WORDS), finish(), done())


async def test_a_stream_is_read_from_the_beginning_to_its_receipt(here: Client, upstream: ScriptedUpstream) -> None:
    """`retry:` first, then events numbered 1, 2, 3 … and `event: done` with the receipt."""
    upstream.script(*(say(word) for word in WORDS), finish(), usage(7, 40), done())
    stream = await start(here)
    assert stream["object"] == "stream"
    assert stream["expires_at"] > stream["created"]
    events = await (await open_events(here, stream["events_url"], authorization="")).to_the_end()
    assert numbers(events) == list(range(1, EVENTS + 2))
    assert all(e.id and e.id.startswith(f"{stream['id']}.") for e in events)
    assert events[0].retry == 1000
    assert text(events) == SENTENCE
    name, receipt = ending(events)
    assert name == "done"
    assert receipt["end_reason"] == "finish"
    assert receipt["usage"] == {"prompt_tokens": 7, "completion_tokens": 40, "total_tokens": 47, "estimated": False}


@pytest.mark.parametrize("place", ["here", "elsewhere"])
async def test_a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice(
    here: Client, elsewhere: Client, upstream: ScriptedUpstream, place: str
) -> None:
    """While the answer is being generated, on the worker that runs the stream and on another."""
    more = asyncio.Event()
    upstream.script(
        *(say(word) for word in WORDS[:20]), gate(more), *(say(word) for word in WORDS[20:]), finish(), done()
    )
    stream = await start(here)
    first = await open_events(here, stream["events_url"])
    seen = (await first.until(7))[:7]
    first.connection.reset()
    second = await open_events(
        here if place == "here" else elsewhere, stream["events_url"], last_event_id=seen[-1].id or ""
    )
    await second.until(5)
    more.set()
    events = seen + await second.to_the_end()
    assert numbers(events) == list(range(1, EVENTS + 2))
    assert text(events) == SENTENCE


@pytest.mark.parametrize("place", ["here", "elsewhere"])
async def test_an_ended_stream_is_replayed_and_who_saw_its_end_gets_204(
    here: Client, elsewhere: Client, upstream: ScriptedUpstream, place: str
) -> None:
    """204 is the one answer that stops an EventSource."""
    upstream.script(*spoken())
    stream = await start(here)
    await (await open_events(here, stream["events_url"])).to_the_end()
    client = here if place == "here" else elsewhere
    events = await (await open_events(client, f"{stream['events_url']}&last_event_id={stream['id']}.30")).to_the_end()
    assert numbers(events) == list(range(31, EVENTS + 2))
    again = await client.ask("GET", stream["events_url"], last_event_id=events[-1].id or "")
    assert again.status == 204
    assert again.body == b""


async def test_two_readers_at_once_get_the_same_events(
    here: Client, elsewhere: Client, upstream: ScriptedUpstream
) -> None:
    begin = asyncio.Event()
    upstream.script(gate(begin), *spoken())
    stream = await start(here)
    readings = [await open_events(client, stream["events_url"]) for client in (here, here, elsewhere)]
    begin.set()
    first, second, third = [await reading.to_the_end() for reading in readings]
    assert first == second == third


async def test_the_same_idempotency_key_begins_one_stream(
    here: Client, elsewhere: Client, upstream: ScriptedUpstream
) -> None:
    upstream.script(*spoken())
    headers = {"idempotency_key": "order-66"}
    one, two = await asyncio.gather(start(here, headers=headers), start(elsewhere, headers=headers))
    assert one["id"] == two["id"]
    await (await open_events(here, one["events_url"])).to_the_end()
    assert len(upstream.requests) == 1


async def test_to_anybody_else_a_stream_is_as_unknown_as_any(
    here: Client, stranger: Client, upstream: ScriptedUpstream
) -> None:
    """With the exact id, with the ticket of another stream, with a ticket as a bearer: the same 404 (or 401)."""
    upstream.script(*spoken())
    stream = await start(here)
    own = await start(stranger)
    ticket = own["events_url"].partition("ticket=")[2]
    unknown = await stranger.ask("GET", "/v1/streams/st_AAAAAAAAAAAAAAAAAAAAAA/events")
    answers: list[Reply] = [
        await stranger.ask("GET", f"/v1/streams/{stream['id']}/events"),
        await stranger.ask("GET", f"/v1/streams/{stream['id']}/events?ticket={ticket}", authorization=""),
        await here.ask("GET", f"/v1/streams/{stream['id']}/events?ticket=nonsense", authorization=""),
        await stranger.ask("GET", f"/v1/streams/{stream['id']}"),
    ]
    assert unknown.status == 404
    assert {(answer.status, answer.body) for answer in answers} == {(404, unknown.body)}
    login = await here.ask("GET", "/v1/models", authorization=f"Bearer {stream['events_url'].partition('ticket=')[2]}")
    assert login.status == 401
    cancelled = await stranger.ask("POST", f"/v1/streams/{stream['id']}/cancel")
    assert (cancelled.status, cancelled.body) == (404, unknown.body)


@pytest.mark.parametrize("bad", ["x", "st_x.1", "st_AAAAAAAAAAAAAAAAAAAAAA.1", "-1", "1e9", "9" * 4000])
async def test_an_id_of_another_stream_is_refused(here: Client, upstream: ScriptedUpstream, bad: str) -> None:
    upstream.script(*spoken())
    stream = await start(here)
    answer = await here.ask("GET", stream["events_url"], last_event_id=bad)
    assert answer.status == 400
    assert answer.json["error"]["code"] == "invalid_event_id"


@pytest.mark.parametrize("place", ["here", "elsewhere"])
async def test_cancelling_closes_the_upstream_and_ends_the_stream_validly(
    here: Client, elsewhere: Client, upstream: ScriptedUpstream, place: str
) -> None:
    """Readers get what was said so far and a valid ending; asked again, the receipt is the same."""
    upstream.script(*(say(word) for word in WORDS[:10]), stall())
    stream = await start(here, session_id=f"cancelled-{place}")
    reading = await open_events(here, stream["events_url"])
    await reading.until(10)
    client = here if place == "here" else elsewhere
    receipt = await client.ask("POST", f"/v1/streams/{stream['id']}/cancel")
    assert receipt.status == 200
    async with asyncio.timeout(20):
        await (await upstream.request()).left
        events = await reading.to_the_end()
    name, told = ending(events)
    assert (name, told["end_reason"]) == ("done", "cancelled")
    assert text(events) == "".join(WORDS[:10])
    assert receipt.json["end_reason"] == "cancelled"
    assert (await client.ask("POST", f"/v1/streams/{stream['id']}/cancel")).json == receipt.json
    session = await here.ask("GET", f"/v1/sessions/cancelled-{place}")
    assert session.json["messages"][-1] == {"role": "assistant", "content": "".join(WORDS[:10])}


async def test_any_running_completion_can_be_cancelled_by_its_stream_id(
    here: Client, elsewhere: Client, upstream: ScriptedUpstream
) -> None:
    """Also one that nobody can resume."""
    upstream.script(say("One"), stall())
    stream = await here.open_chat()
    head = await stream.head()
    await stream.frame()
    receipt = await elsewhere.ask("POST", f"/v1/streams/{head.get('X-Stream-Id')}/cancel")
    assert receipt.json["end_reason"] == "cancelled"
    rest = b"".join([frame async for frame in stream.frames()])
    assert rest.endswith(b"data: [DONE]\n\n")
    assert b'"error"' not in rest


async def test_a_failing_upstream_ends_the_stream_as_failed(
    here: Client, elsewhere: Client, upstream: ScriptedUpstream
) -> None:
    """And so says the receipt to whoever has read the ending, on any worker."""
    upstream.script(say("One"), drop())
    stream = await start(here)
    events = await (await open_events(here, stream["events_url"])).to_the_end()
    name, body = ending(events)
    assert name == "failed"
    assert body["error"]["code"].startswith("upstream")
    for client in (here, elsewhere):
        receipt = await client.ask("GET", f"/v1/streams/{stream['id']}")
        assert receipt.json["end_reason"] == "upstream_error"


async def test_a_stream_that_everybody_has_left_is_cancelled_when_it_was_asked_to_be(
    here: Client, upstream: ScriptedUpstream
) -> None:
    upstream.script(say("One"), stall())
    stream = await start(here, on_disconnect="cancel")
    reading = await open_events(here, stream["events_url"])
    await reading.until(1)
    reading.connection.leave()
    async with asyncio.timeout(30):
        await (await upstream.request()).left


async def test_a_resumable_completion_goes_on_when_its_client_leaves(
    here: Client, elsewhere: Client, upstream: ScriptedUpstream
) -> None:
    """`X-Resumable: 1`: every event says where to resume, and family B serves the rest."""
    more = asyncio.Event()
    upstream.script(say("One"), gate(more), say(" two"), finish(), done())
    body = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "count"}]}
    stream = await here.send("POST", "/v1/chat/completions", body, x_resumable="1")
    stream_id = (await stream.head()).get("X-Stream-Id")
    piece = await stream.piece()
    assert piece.startswith(f"id: {stream_id}.1\ndata: {{".encode())
    stream.leave()
    more.set()
    reading = await open_events(elsewhere, f"/v1/streams/{stream_id}/events", last_event_id=f"{stream_id}.1")
    events = await reading.to_the_end()
    assert text(events) == " two"
    assert ending(events)[1]["end_reason"] == "finish"


async def test_a_resumable_completion_that_fails_before_its_first_event_is_a_status(
    here: Client, upstream: ScriptedUpstream
) -> None:
    upstream.script(
        reply(400, {"error": {"message": "no", "type": "invalid_request_error", "code": "x", "param": None}})
    )
    body = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "count"}]}
    answer = await here.ask("POST", "/v1/chat/completions", body, x_resumable="1")
    assert answer.status == 400


async def test_a_forgotten_session_stays_forgotten(here: Client, upstream: ScriptedUpstream) -> None:
    """It is not rebuilt from the history either."""
    upstream.script(*spoken())
    stream = await start(here, "remember me", session_id="forgettable")
    await (await open_events(here, stream["events_url"])).to_the_end()
    assert (await here.ask("DELETE", "/v1/sessions/forgettable")).status == 200
    assert (await here.ask("GET", "/v1/sessions/forgettable")).status == 404
    await start(here, "second", session_id="forgettable")
    while len(upstream.requests) < 2:
        await upstream.request()
    assert "remember me" not in upstream.requests[-1].body.decode()


async def test_chunks_of_every_kind_come_back_from_the_log_as_they_were(
    here: Client, elsewhere: Client, upstream: ScriptedUpstream
) -> None:
    """Compact at rest, byte for byte the same when replayed."""
    odd = chunk_of({"content": 'quotes " and \\ and \u2028 and 你好 \n'}, strange={"kept": [1, 2]})
    upstream.script(*(say(word) for word in WORDS[:5]), event(odd), say("after"), finish(), done())
    stream = await start(here)
    fresh = await (await open_events(here, stream["events_url"])).to_the_end()
    replayed = await (await open_events(elsewhere, stream["events_url"])).to_the_end()
    assert [e.data for e in replayed] == [e.data for e in fresh]
