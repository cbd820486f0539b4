"""What /metrics says of two real workers while people chat, are refused, cancel and come back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import kill, until
from tests.e2e.server import Person, Server
from tests.e2e.talk import acknowledge, ask, begin
from tests.support.http import Client
from tests.support.processes import readiness
from tests.support.steps import done, finish, gate, say
from tests.support.upstream import ScriptedUpstream

# Seconds; a busy machine takes long to start a worker.
PATIENCE = 40
CHAT = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai"}


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    """Two workers, each at a port of its own, that allow ten questions a minute."""
    return launch(workers=2, port_per_worker=True, LIMITS__REQUESTS="10/min", UPSTREAM__MODELS="gpt-4o-mini,*")


@pytest.fixture(autouse=True)
def sound(server: Server, upstream: ScriptedUpstream) -> Iterator[None]:
    upstream.script(acknowledge())
    yield
    server.check_log()


async def metric(client: Client, name: str, **labels: str) -> float:
    """The sum of the samples called *name* that carry *labels*."""
    text = (await client.ask("GET", "/metrics")).body.decode()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = [line for line in text.splitlines() if re.split(r"[{ ]", line, maxsplit=1)[0] == name]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in wanted))


class Both:
    """Both workers, asked by one person."""

    def __init__(self, server: Server, speak: Speak, person: Person) -> None:
        self.clients = [speak(server, person, worker=worker) for worker in range(2)]

    async def agree(self, wanted: float, name: str, **labels: str) -> None:
        """Wait until both workers say *wanted*: each passes on what it counted twice a second."""

        async def same() -> bool:
            return [await metric(client, name, **labels) for client in self.clients] == [wanted, wanted]

        await until(same, f"both workers say {wanted} {name}", PATIENCE)

    async def now(self, name: str, **labels: str) -> float:
        """What both workers say, once they say the same."""

        async def same() -> tuple[float] | None:
            told = {await metric(client, name, **labels) for client in self.clients}
            return (told.pop(),) if len(told) == 1 else None

        (value,) = await until(same, f"both workers agree on {name}", PATIENCE)
        return float(value)


@pytest.fixture
def both(io_loop: IOLoop, server: Server, speak: Speak) -> Both:
    (person,) = io_loop.run_sync(lambda: server.people(1))
    return Both(server, speak, person)


async def test_each_worker_tells_the_time_and_tokens_of_both(both: Both) -> None:
    """A question to each: either worker's answer holds two, in OpenTelemetry's names, by model."""
    name = "gen_ai_server_request_duration_seconds_count"
    before = await both.now(name, **CHAT)
    for client in both.clients:
        assert (await ask(client, "Hello?")).status == 200
    await both.agree(before + 2, name, **CHAT)
    assert await both.now("gen_ai_client_token_usage_count", gen_ai_token_type="output", **CHAT) > 0
    assert await both.now("streamproxy_overhead_seconds_count", phase="before") > 0
    assert await both.now("streamproxy_overhead_seconds_count", phase="after") > 0


async def test_a_stream_has_a_time_to_its_first_token(both: Both, upstream: ScriptedUpstream) -> None:
    upstream.script(say("One "), say("two "), say("three."), finish(), done())
    name = "gen_ai_server_time_to_first_token_seconds_count"
    before = await both.now(name, **CHAT)
    stream = await begin(both.clients[0], "Count.")
    await stream.head()
    assert [frame async for frame in stream.frames()]
    await both.agree(before + 1, name, **CHAT)


async def test_invented_models_do_not_become_series(both: Both) -> None:
    """The upstream serves every name; only the catalogue's are labels."""
    for number in range(3):
        assert (await ask(both.clients[0], "Hello?", model=f"invented-{number}")).status == 200
    text = (await both.clients[0].ask("GET", "/metrics")).body.decode()
    assert 'gen_ai_request_model="other"' in text
    assert "invented" not in text


async def test_running_streams_are_summed_and_die_with_their_worker(
    server: Server, both: Both, upstream: ScriptedUpstream
) -> None:
    """One stream on each worker is two; kill one worker, and its stream is no longer counted as running."""
    end = asyncio.Event()
    upstream.script(say("Well,"), gate(end), finish(), done())
    streams = [await begin(client, "Talk.") for client in both.clients]
    for stream in streams:
        await stream.head()
        await stream.frame()
    await both.agree(2, "streamproxy_streams_running")
    kill(server.pid_serving(streams[0]))
    await until(lambda: readiness(server.ports[0])[0] == 200, "the worker is back", PATIENCE)
    await both.agree(1, "streamproxy_streams_running")
    await both.agree(2, "streamproxy_workers")
    end.set()
    assert [frame async for frame in streams[1].frames()]
    await both.agree(0, "streamproxy_streams_running")


async def test_what_the_limits_decide_is_counted(both: Both) -> None:
    """Ten are admitted, the eleventh is refused by the window of requests."""
    admitted = await both.now("streamproxy_limit_decisions_total", decision="admitted")
    refused = await both.now("streamproxy_limit_decisions_total", decision="refused_requests")
    statuses = [(await ask(both.clients[number % 2], "Hello?")).status for number in range(11)]
    assert statuses == [200] * 10 + [429]
    await both.agree(admitted + 10, "streamproxy_limit_decisions_total", decision="admitted")
    await both.agree(refused + 1, "streamproxy_limit_decisions_total", decision="refused_requests")


async def test_resuming_and_cancelling_are_timed(both: Both, upstream: ScriptedUpstream) -> None:
    """A reader that comes back on the other worker, and a stream that is stopped from there."""
    end = asyncio.Event()
    upstream.script(say("Well,"), say(" then"), gate(end), finish(), done())
    resumed = await both.now("streamproxy_resume_seconds_count")
    cancelled = await both.now("streamproxy_cancel_seconds_count")
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Talk."}]}
    begun = (await both.clients[0].ask("POST", "/v1/streams", body)).json
    path = f"/v1/streams/{begun['id']}"
    reader = await both.clients[1].send("GET", f"{path}/events?last_event_id={begun['id']}.1")
    await reader.head()
    assert [await reader.piece(), await reader.piece()][0] == b"retry: 1000\n\n"
    assert (await both.clients[1].ask("POST", f"{path}/cancel")).status == 200
    await both.agree(resumed + 1, "streamproxy_resume_seconds_count")
    await both.agree(cancelled + 1, "streamproxy_cancel_seconds_count")
    end.set()


async def test_a_worker_tells_how_it_is(both: Both) -> None:
    """Loop lag, memory, files, processor time: what a dashboard needs before anybody complains."""

    async def lagged() -> bool:
        return await metric(both.clients[0], "streamproxy_loop_lag_seconds_count") > 0

    await until(lagged, "a loop was asked to wake up")
    assert await metric(both.clients[0], "streamproxy_cpu_seconds_total") > 0
    assert await metric(both.clients[0], "streamproxy_resident_memory_bytes") > 20e6
    assert 10 < await metric(both.clients[0], "streamproxy_open_files") < 1000
    assert await metric(both.clients[0], "streamproxy_redis_available") == 1
    assert await metric(both.clients[0], "streamproxy_keys", state="healthy") > 0
