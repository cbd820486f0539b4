"""Whose a stream is: tickets, cookies, other principals, and rights that end while a stream is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.server import Person, Server
from tests.streams.events import Reading, ending, open_events, start, text
from tests.support.http import Client, Reply
from tests.support.steps import done, finish, gate, say, stall
from tests.support.upstream import ScriptedUpstream

COOKIE = "streamproxy"
UNKNOWN = "st_AAAAAAAAAAAAAAAAAAAAAA"
# Rights are looked at again once a heartbeat.
HEARTBEAT = 0.3


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    settings = {"AUTH__COOKIE": COOKIE, "AUTH__CACHE_SECONDS": "0.1", "STREAMS__HEARTBEAT_SECONDS": str(HEARTBEAT)}
    return launch(workers=2, port_per_worker=True, **settings)


@pytest.fixture(autouse=True)
def sound(server: Server) -> Iterator[None]:
    yield
    server.check_log()


def ticket_of(stream: dict[str, str]) -> str:
    return stream["events_url"].partition("ticket=")[2]


def without_request_id(answer: Reply) -> tuple[int, bytes, list[tuple[str, str]]]:
    """An answer as a stranger could compare it."""
    varying = {"x-request-id", "date"}
    return answer.status, answer.body, [field for field in answer.head.fields if field[0].lower() not in varying]


@pytest.mark.parametrize("state", ["running", "ended"])
@pytest.mark.parametrize("worker", [0, 1])
async def test_a_foreign_stream_is_answered_as_one_that_never_was(
    server: Server, speak: Speak, upstream: ScriptedUpstream, state: str, worker: int
) -> None:
    """The exact id, by bearer, by cookie and by another stream's ticket, on the owner and elsewhere, at every path."""
    owner, stranger = await server.people(2)
    upstream.script(say("One"), *((stall(),) if state == "running" else (finish(), done())))
    stream = await start(speak(server, owner))
    if state == "ended":
        await (await open_events(speak(server, owner), stream["events_url"])).to_the_end()
        await server.usage(owner)
    other = speak(server, stranger, worker=worker)
    own_ticket = ticket_of(await start(speak(server, stranger)))
    cookie = {"cookie": f"{COOKIE}={stranger.bearer}", "sec_fetch_site": "same-origin", "authorization": ""}
    ways: list[tuple[str, str, dict[str, str]]] = [
        ("GET", "/v1/streams/{}", {}),
        ("GET", "/v1/streams/{}/events", {}),
        ("GET", "/v1/streams/{}/events", {"last_event_id": "{}.1"}),
        ("GET", "/v1/streams/{}/events", cookie),
        ("GET", "/v1/streams/{}", cookie),
        ("GET", f"/v1/streams/{{}}/events?ticket={own_ticket}", {"authorization": ""}),
        ("GET", "/v1/streams/{}/events?ticket=nonsense", {"authorization": ""}),
        ("POST", "/v1/streams/{}/cancel", {}),
    ]
    for method, path, headers in ways:
        foreign, unknown = await asyncio.gather(
            *(
                other.ask(method, path.format(i), **{name: value.format(i) for name, value in headers.items()})
                for i in (stream["id"], UNKNOWN)
            )
        )
        assert foreign.status == 404, (method, path)
        assert without_request_id(foreign) == without_request_id(unknown), (method, path)


async def test_a_ticket_opens_nothing_but_its_stream(server: Server, speak: Speak, upstream: ScriptedUpstream) -> None:
    """Neither as a bearer, nor as the page's cookie, nor in the query of anything else."""
    (person,) = await server.people(1)
    upstream.script(say("One"), stall())
    client = speak(server, person)
    stream, other = await start(client, session_id="mine"), await start(client)
    ticket = ticket_of(stream)
    paths = [
        ("GET", f"/v1/streams/{stream['id']}"),
        ("POST", f"/v1/streams/{stream['id']}/cancel"),
        ("GET", "/v1/sessions/mine"),
        ("DELETE", "/v1/sessions/mine"),
        ("GET", "/v1/models"),
        ("POST", "/v1/streams"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/admin/users"),
        ("GET", "/dashboard/billing/subscription"),
    ]
    cookie = {"cookie": f"{COOKIE}={ticket}", "sec_fetch_site": "same-origin", "authorization": ""}
    for method, path in paths:
        body = {} if method == "POST" else None
        for credential in ({"authorization": f"Bearer {ticket}"}, cookie):
            assert (await client.ask(method, path, body, **credential)).status == 401, path
        assert (await client.ask(method, f"{path}?ticket={ticket}", body, authorization="")).status == 401, path
    elsewhere = f"/v1/streams/{other['id']}/events?ticket={ticket}"
    assert (await client.ask("GET", elsewhere, authorization="")).status == 404
    reading = await open_events(client, stream["events_url"], authorization="")
    assert reading.status == 200


async def test_a_ticket_is_good_for_reconnects_on_every_worker(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    more = asyncio.Event()
    upstream.script(say("One"), gate(more), say(" two"), finish(), done())
    stream = await start(speak(server, person))
    first = await open_events(speak(server, person), stream["events_url"], authorization="")
    seen = await first.until(1)
    first.connection.reset()
    more.set()
    again = await open_events(
        speak(server, person, worker=1), stream["events_url"], authorization="", last_event_id=seen[0].id or ""
    )
    assert text(await again.to_the_end()) == " two"


async def test_the_pages_cookie_reads_a_stream_from_the_page_itself_only(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.script(say("One"), finish(), done())
    stream = await start(speak(server, person))
    path = f"/v1/streams/{stream['id']}/events"
    headers = {"authorization": "", "cookie": f"{COOKIE}={person.bearer}"}
    own = await open_events(speak(server, person, worker=1), path, sec_fetch_site="same-origin", **headers)
    assert text(await own.to_the_end()) == "One"
    for site in ("cross-site", "same-site"):
        foreign = await speak(server, person).ask("GET", path, sec_fetch_site=site, **headers)
        assert foreign.status == 401


async def lost(reading: Reading) -> None:
    """Wait until the proxy has closed the connection in mid-answer."""
    async with asyncio.timeout(30):
        with pytest.raises(ConnectionResetError):
            await reading.to_the_end()


@pytest.mark.parametrize("worker", [0, 1])
@pytest.mark.parametrize("way", ["bearer", "ticket", "X-Resumable"])
async def test_a_disabled_user_loses_their_streams(
    server: Server, speak: Speak, upstream: ScriptedUpstream, worker: int, way: str
) -> None:
    """In mid-answer, and at the attempt to come back."""
    (person,) = await server.people(1)
    upstream.script(say("One"), stall())
    client = speak(server, person, worker=worker)
    if way == "X-Resumable":
        body = {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": "x"}]}
        connection = await client.send("POST", "/v1/chat/completions", body, x_resumable="1")
        reading = await Reading(connection).begin()
        path = f"/v1/streams/{(reading.stream_id)}/events"
    else:
        stream = await start(speak(server, person))
        path = stream["events_url"] if way == "ticket" else f"/v1/streams/{stream['id']}/events"
        reading = await open_events(client, path, **({"authorization": ""} if way == "ticket" else {}))
    await reading.until(1)
    async with server.accounts() as accounts:
        await accounts.auth.change(await accounts.named(person.name), {"disabled": True})
    await lost(reading)
    back = await client.ask("GET", path, **({"authorization": ""} if way == "ticket" else {}))
    assert back.status == (404 if way == "ticket" else 401)


async def test_a_bearer_that_expires_ends_the_reading_and_the_stream_goes_on(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    more = asyncio.Event()
    upstream.script(say("One"), gate(more), say(" two"), finish(), done())
    async with server.accounts() as accounts:
        user = await accounts.named(person.name)
        short = await accounts.auth.issue_bearer(user, days=4 / 86400)
    brief = speak(server, Person(person.id, person.name, short))
    stream = await start(brief)
    reading = await open_events(brief, f"/v1/streams/{stream['id']}/events")
    await reading.until(1)
    await lost(reading)
    assert (await brief.ask("GET", f"/v1/streams/{stream['id']}/events")).status == 401
    more.set()
    again = await open_events(speak(server, person), f"/v1/streams/{stream['id']}/events")
    events = await again.to_the_end()
    assert text(events) == "One two"
    assert ending(events)[0] == "done"


async def test_a_store_that_is_away_ends_nobodys_reading(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """Whether the right is still there cannot be asked: the reader keeps what it was given."""
    server = launch(AUTH__CACHE_SECONDS="0.1", STREAMS__HEARTBEAT_SECONDS="0.2")
    (person,) = await server.people(1)
    more = asyncio.Event()
    upstream.script(say("One"), gate(more), say(" two"), finish(), done())
    client: Client = speak(server, person)
    stream = await start(client)
    reading = await open_events(client, stream["events_url"], authorization="")
    await reading.until(1)
    assert server.redis_server is not None
    server.redis_server.kill()
    try:
        for _ in range(4):
            assert await reading.connection.piece() == b":\n"
    finally:
        await asyncio.to_thread(server.redis_server.start)
    more.set()
    assert text(await reading.to_the_end()) == "One two"
